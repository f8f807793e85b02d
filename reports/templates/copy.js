"use strict";
/* Puts "Copy: TSV, Markdown" below every table. What is copied is the table's text; nothing is sent or stored. */
(() => {
  const flat = (text) => text.replace(/\s+/g, " ").trim();
  const cell = (node) => {
    const smalls = [...node.querySelectorAll("small")].map((s) => flat(s.textContent)).filter(Boolean);
    const copy = node.cloneNode(true);
    copy.querySelectorAll("small").forEach((s) => s.remove());
    copy.querySelectorAll(".of").forEach((s) => s.append(" "));
    const main = flat(copy.textContent);
    return smalls.length ? flat(main + " (" + smalls.join("; ") + ")") : main;
  };
  const rowsOf = (table) => [...table.rows].map((row) => [...row.cells].map(cell));
  /* A cell that a spreadsheet would run as a formula becomes text; a signed number stays one. */
  const inert = (text) => (/^([=@]|[+-](?![\d.]))/.test(text) ? "'" + text : text);
  const tsv = (rows) => rows.map((row) => row.map(inert).join("\t")).join("\n") + "\n";
  const markdown = (rows) => {
    const line = (row) => "| " + row.map((c) => c.replace(/([\\`*_{}[\]<>#|~!])/g, "\\$1")).join(" | ") + " |";
    const [head, ...rest] = rows;
    return [line(head), "|" + "---|".repeat(head.length), ...rest.map(line)].join("\n") + "\n";
  };
  const put = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      const done = document.execCommand("copy");
      area.remove();
      return done;
    }
  };
  document.querySelectorAll("main table").forEach((table) => {
    const said = document.createElement("span");
    said.setAttribute("role", "status");
    const bar = document.createElement("p");
    bar.className = "copy";
    bar.append("Copy this table: ");
    for (const [name, of] of [["TSV", tsv], ["Markdown", markdown]]) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = name;
      button.addEventListener("click", async () => {
        said.textContent = (await put(of(rowsOf(table)))) ? "copied" : "the browser refused";
        setTimeout(() => { said.textContent = ""; }, 2000);
      });
      bar.append(button, " ");
    }
    bar.append(said);
    (table.closest(".scroll") || table).after(bar);
  });
})();
