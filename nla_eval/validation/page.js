"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const make = (tag, text) => Object.assign(document.createElement(tag), { textContent: text });
  const place = "nla-eval-validate:" + data.sheet;
  const state = { who: "", labels: {}, notes: {}, index: 0 };

  const keep = () => {
    try {
      localStorage.setItem(place, JSON.stringify(state));
    } catch {
      warn("This browser keeps no progress for pages from disk: save the CSV before you close the page.");
    }
  };
  const recall = () => {
    try {
      Object.assign(state, JSON.parse(localStorage.getItem(place) || "{}"));
    } catch {
      warn("This browser keeps no progress for pages from disk: save the CSV before you close the page.");
    }
    state.index = Math.min(Math.max(Number(state.index) || 0, 0), data.items.length - 1);
  };
  const warn = (text) => {
    at("warning").textContent = text;
    at("warning").hidden = false;
  };

  const buttons = new Map();
  const offer = (label) => {
    const button = make("button", "");
    button.type = "button";
    button.append(make("kbd", label.key), label.name);
    button.addEventListener("click", () => choose(label.name));
    const rule = document.createElement("details");
    rule.append(make("summary", label.means));
    for (const [title, examples] of [["Counts", label.counts], ["Does not count", label.not]]) {
      if (!examples.length) continue;
      const list = document.createElement("ul");
      list.append(...examples.map((example) => make("li", example)));
      rule.append(make("strong", title), list);
    }
    at("labels").append(button, rule);
    buttons.set(label.name, button);
  };

  const show = () => {
    const item = data.items[state.index];
    at("question").textContent = (state.index + 1) + ". " + data.questions[item.kind];
    at("text").textContent = item.text;
    at("text").scrollTop = 0;
    at("note").value = state.notes[item.id] || "";
    for (const [name, button] of buttons) button.setAttribute("aria-pressed", String(state.labels[item.id] === name));
    const done = data.items.filter((other) => state.labels[other.id]).length;
    at("bar").max = data.items.length;
    at("bar").value = done;
    at("done").textContent = done + " of " + data.items.length + " labelled";
    document.title = done + "/" + data.items.length + " labelled, sheet " + data.sheet;
    at("who").value = state.who;
  };
  const go = (index) => {
    state.index = Math.min(Math.max(index, 0), data.items.length - 1);
    keep();
    show();
  };
  const choose = (name) => {
    const item = data.items[state.index];
    if (state.labels[item.id] === name) {
      delete state.labels[item.id];
      go(state.index);
    } else {
      state.labels[item.id] = name;
      go(state.index + 1);
    }
  };
  const nextOpen = () => {
    const count = data.items.length;
    for (let step = 1; step <= count; step++) {
      const index = (state.index + step) % count;
      if (!state.labels[data.items[index].id]) return go(index);
    }
  };

  const cell = (text) => '"' + String(text).replaceAll('"', '""') + '"';
  const csv = () => {
    const rows = data.items
      .filter((item) => state.labels[item.id])
      .map((item) => [data.sheet, state.who, item.id, item.kind, state.labels[item.id], state.notes[item.id] || ""]);
    return [["sheet", "labeller", "item", "kind", "label", "note"], ...rows]
      .map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
  };
  const save = () => {
    if (!state.who.trim()) {
      warn("Enter your name first: it stands in the file.");
      at("who").focus();
      return;
    }
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
    link.download = "labels-" + data.sheet + "-" + state.who.trim().replace(/[^\p{L}\p{N}]+/gu, "_") + ".csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  };

  recall();
  data.labels.forEach(offer);
  at("who").addEventListener("input", () => { state.who = at("who").value; keep(); });
  at("note").addEventListener("input", () => { state.notes[data.items[state.index].id] = at("note").value; keep(); });
  at("back").addEventListener("click", () => go(state.index - 1));
  at("next").addEventListener("click", () => go(state.index + 1));
  at("open").addEventListener("click", nextOpen);
  at("save").addEventListener("click", save);
  document.addEventListener("keydown", (event) => {
    if (event.target instanceof HTMLInputElement || event.ctrlKey || event.metaKey || event.altKey) return;
    const label = data.labels.find((other) => other.key === event.key);
    if (label) choose(label.name);
    else if (event.key === "ArrowLeft") go(state.index - 1);
    else if (event.key === "ArrowRight") go(state.index + 1);
    else if (event.key === " " && !(event.target instanceof HTMLButtonElement)) nextOpen();
    else return;
    event.preventDefault();
  });
  show();
})();
