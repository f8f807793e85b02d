// Runs a labelling page's script on a stand-in for the DOM, types what argv says, and prints the CSV that it saves.
"use strict";
const [script, data, stored, ...keys] = process.argv.slice(2);
const fs = require("node:fs");
let saved = null;
const element = () => {
  const on = {};
  return {
    textContent: "", value: "", hidden: true, children: [], attributes: {},
    append(...more) { this.children.push(...more); },
    addEventListener(name, act) { on[name] = act; },
    setAttribute(name, value) { this.attributes[name] = value; },
    focus() {},
    fire(name) { on[name](); },
    click() { if (on.click) on.click(); else saved = { name: this.download, csv: this.href }; },
  };
};
const known = {};
const handlers = {};
const kept = new Map(stored === "blocked" ? [] : JSON.parse(stored));
Object.assign(globalThis, {
  document: {
    title: "",
    getElementById: (id) => (known[id] ??= element()),
    createElement: element,
    addEventListener: (name, act) => { handlers[name] = act; },
  },
  localStorage: {
    getItem: (key) => { if (stored === "blocked") throw new Error("blocked"); return kept.get(key) ?? null; },
    setItem: (key, value) => { if (stored === "blocked") throw new Error("blocked"); kept.set(key, value); },
  },
  HTMLInputElement: class {},
  HTMLButtonElement: class {},
  Blob: class { constructor(parts) { this.text = parts.join(""); } },
  setTimeout: () => {},
});
URL.createObjectURL = (blob) => blob.text;
document.getElementById("data").textContent = fs.readFileSync(data, "utf8");
require(script);
for (const key of keys) {
  if (key.startsWith("name:")) {
    known.who.value = key.slice(5);
    known.who.fire("input");
  } else if (key.startsWith("note:")) {
    known.note.value = key.slice(5);
    known.note.fire("input");
  } else {
    handlers.keydown({ key, target: {}, preventDefault() {} });
  }
}
known.save.fire("click");
const warning = known.warning && !known.warning.hidden ? known.warning.textContent : "";
process.stdout.write(JSON.stringify({ saved, kept: [...kept], done: known.done.textContent, warning }));
