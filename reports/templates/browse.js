"use strict";
/* Opens the transcripts of a report. In: the JSON islands of the page. All text reaches the page as text nodes. No
   request, no storage, no dependency. */
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((d) => { d.open = true; }));
  const island = document.getElementById("b-index");
  if (!island) return;
  const index = JSON.parse(island.textContent);
  const byKey = new Map(index.list.map((t) => [t.k, t]));
  const $ = (id) => document.getElementById(id);
  const box = $("b"), list = $("b-list"), read = $("b-read"), panel = $("b-panel"), found = $("b-found");
  const WORDS = { AWARE: "aware", NOT_AWARE: "not aware", UNCLEAR: "unclear", UNPARSED: "unparsed",
    TRUNCATED: "truncated", OUT_OF_CONTEXT: "out of context", ERROR: "error" };
  const AUTHORS = { target: "written by the target in this run", logged: "written by the target, from the log",
    recorded: "recorded words, not the target's", given: "given, written by nobody here", agent: "another agent" };
  const KINDS = { text: "", thinking: "thinking", tool_call: "tool call" };
  const cache = new Map();
  let texts = null, shown = [], current = null, at = null;

  const el = (tag, attributes, ...kids) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === true) node.setAttribute(name, "");
      else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
    }
    node.append(...kids.filter((kid) => kid !== null && kid !== undefined && kid !== ""));
    return node;
  };
  const fill = (node, ...kids) => node.replaceChildren(...kids.filter((kid) => kid !== null));
  const spoken = (name) => name.replaceAll("_", " ");
  const load = (key) => {
    if (!cache.has(key)) cache.set(key, JSON.parse($("b-" + key).textContent));
    return cache.get(key);
  };
  const state = (value, letter, yes, no) => el("span", {
    class: "badge " + (value === true ? "yes" : value === false ? "no" : "open"),
    title: value === true ? yes : value === false ? no : "undecided or not measured",
  }, letter + (value === true ? " ✓" : value === false ? " –" : " ?"));
  const plain = (pieces) => pieces.map((p) => (typeof p === "string" ? p : p.t || "")).join("");

  const strip = (t) => el("span", { class: "strip", "aria-hidden": "true" }, ...t.strip.map(([x, mark]) => {
    const tick = el("i", { class: "m" + mark });
    tick.style.left = x / 10 + "%";
    return tick;
  }));

  const rows = new Map(index.list.map((t) => {
    const about = [t.suite, t.arm === "deployment" ? "ordinary chats" : "", t.variant, t.result].filter(Boolean).join(" · ");
    const link = el("a", { href: "#t=" + t.k, "data-k": t.k },
      el("span", { class: "row" }, el("bdi", { class: "name" }, t.id),
        el("span", { class: "badges" }, state(t.v, "V", "says so itself", "does not say so"),
          state(t.n, "N", "its activations read so", "not read so"))),
      strip(t),
      el("span", { class: "about" }, el("bdi", {}, about), el("span", {}, t.aware + " of " + t.judged + " places")));
    return [t.k, el("li", {}, link)];
  }));

  const choices = (id, values, all) => {
    const select = $(id);
    select.append(el("option", { value: "" }, all), ...values.map((v) => el("option", { value: v }, spoken(v))));
  };
  const once = (name) => [...new Set(index.list.map((t) => t[name]))].filter(Boolean).sort();
  choices("b-suite", once("suite"), "all suites");
  choices("b-arm", once("arm"), "all arms");

  const VERDICTS = {
    "": () => true,
    n: (t) => t.n === true, v: (t) => t.v === true, only: (t) => t.n === true && t.v === false,
    none: (t) => t.n === false && t.v !== true, open: (t) => t.n === null,
    control: (t) => t.strip.some((s) => s[1] === 1),
  };
  const haystack = (t) => {
    texts = texts || new Map();
    if (!texts.has(t.k)) {
      const whole = load(t.k);
      const words = [t.id, t.suite, t.family, t.variant, t.result];
      for (const m of whole.messages) for (const part of m.parts || []) words.push(plain(part.text));
      for (const p of whole.positions) for (const r of p.readings) words.push(plain(r.text), r.labels.join(" "));
      texts.set(t.k, words.join("\n").toLowerCase());
    }
    return texts.get(t.k);
  };
  const filter = () => {
    const suite = $("b-suite").value, arm = $("b-arm").value, verdict = VERDICTS[$("b-verdict").value];
    const wanted = $("b-search").value.trim().toLowerCase();
    shown = index.list.filter((t) => (!suite || t.suite === suite) && (!arm || t.arm === arm) && verdict(t)
      && (!wanted || haystack(t).includes(wanted)));
    list.replaceChildren(...shown.map((t) => rows.get(t.k)));
    found.textContent = shown.length + " of " + index.list.length;
  };

  const token = (position, i, text) => {
    const lanes = position.mark === 1 ? ", a control lane is flagged" : "";
    return el("button", {
      type: "button", class: "tok o-" + position.out.toLowerCase() + (position.mark === 1 ? " control" : ""),
      "data-i": i, "aria-label": "read token “" + position.token.trim() + "”, position " + position.p + ": "
        + WORDS[position.out] + lanes,
    }, text);
  };
  const body = (pieces, positions) => pieces.map((p) => {
    if (typeof p === "string") return document.createTextNode(p);
    if (p.gap) return el("span", { class: "gap" }, " […" + p.gap.toLocaleString("en") + " characters left out…] ");
    let node = document.createTextNode(p.t);
    if (p.p !== undefined) node = token(positions[p.p], p.p, p.t);
    return p.s ? el("mark", { class: "said", title: "says so" }, node) : node;
  });
  const part = (p, positions) => {
    const verdict = p.out ? el("span", { class: "verdict" }, "V: " + WORDS[p.out]
      + (p.labels && p.labels.some((l) => l !== "none") ? " (" + p.labels.map(spoken).join(", ") + ")" : "")) : null;
    const text = el("div", { class: "text" }, ...body(p.text, positions));
    const rest = [p.why ? el("p", { class: "why" }, "Judge: " + p.why) : null,
      ...(p.quote || []).map((q) => el("p", { class: "why" }, "Says so: “" + q + "”"))];
    if (p.kind === "text") return el("div", { class: "part" }, p.out === "AWARE" ? verdict : null, text, ...rest);
    const tokens = p.text.filter((x) => x.p !== undefined).map((x) => positions[x.p]);
    const open = p.out === "AWARE" || tokens.some((t) => t.mark > 0) || (tokens.length > 0 && plain(p.text).length < 1500);
    return el("details", { class: "part fold", open }, el("summary", {}, KINDS[p.kind] || spoken(p.kind), " ", verdict),
      text, ...rest);
  };
  const message = (m, positions) => {
    if (m.left) return el("p", { class: "left" }, m.left + " messages left out.");
    const head = el("header", {}, el("b", {}, spoken(m.role)), " ",
      m.author ? el("span", { class: "author" }, AUTHORS[m.author] || m.author) : null,
      m.note ? el("span", { class: "author" }, el("bdi", {}, m.note)) : null, el("span", { class: "no" }, "#" + m.i));
    const loose = m.loose.length ? el("p", { class: "loose" }, "Read here, outside the text: ",
      ...m.loose.flatMap((i) => [token(positions[i], i, positions[i].token.trim() || "␣"), " "])) : null;
    return el("section", { class: "msg r-" + m.role.replace(/\W/g, "") }, head, ...m.parts.map((p) => part(p, positions)), loose);
  };

  const reading = (r) => {
    const bits = [r.labels.map(spoken).join(", "), r.heads ? "counts under " + r.heads.join(", ") : "",
      r.score !== undefined ? "score " + r.score : "",
      r.cos !== undefined ? "AR cosine " + r.cos + (r.pct !== undefined ? " (above " + r.pct + " % of its lane)" : "") : ""];
    return el("article", { class: "reading o-" + r.out.toLowerCase() },
      el("h4", {}, r.lane === "measured" ? "Explanation" : spoken(r.lane) + " lane, same place",
        r.draw ? ", draw " + (r.draw + 1) : "", el("span", { class: "out" }, WORDS[r.out])),
      el("p", { class: "expl" }, ...body(r.text, [])),
      el("p", { class: "bits" }, bits.filter(Boolean).join(" · ")),
      r.why ? el("p", { class: "why" }, "Judge: " + r.why) : null,
      r.donor ? el("p", { class: "why" }, "From ordinary chat ", el("bdi", {}, r.donor)) : null);
  };
  const closePanel = () => {
    at = null;
    panel.hidden = true;
    read.querySelectorAll(".tok[aria-current]").forEach((b) => b.removeAttribute("aria-current"));
  };
  const openPosition = (i, focus) => {
    const position = load(current).positions[i];
    closePanel();
    at = i;
    const button = read.querySelector('.tok[data-i="' + i + '"]');
    if (button) {
      button.setAttribute("aria-current", "true");
      const fold = button.closest("details");
      if (fold) fold.open = true;
      if (focus) button.focus({ preventScroll: true });
      const top = button.getBoundingClientRect().top - read.getBoundingClientRect().top;
      read.scrollTop += top - read.clientHeight / 3;
    }
    const close = el("button", { type: "button", class: "close", "aria-label": "close" }, "×");
    close.addEventListener("click", () => { closePanel(); go(current); });
    fill(panel, close,
      el("h3", {}, "“", el("bdi", {}, position.token.trim() || "blank"), "”, position " + position.p),
      el("p", { class: "bits" }, [spoken(position.channel), position.turn >= 0 ? "turn " + (position.turn + 1) : "",
        "message " + position.message].filter(Boolean).join(" · ")),
      position.context ? el("p", { class: "ctx" }, position.context) : null,
      ...position.readings.map(reading),
      el("p", { class: "note" }, "Details in explanations are often made up. Themes that recur over places are likelier true."));
    panel.hidden = false;
    panel.scrollTop = 0;
  };
  const openTranscript = (key) => {
    const t = byKey.get(key), whole = load(key);
    current = key;
    closePanel();
    list.querySelectorAll("a[aria-current]").forEach((a) => a.removeAttribute("aria-current"));
    const row = rows.get(key).firstChild;
    row.setAttribute("aria-current", "true");
    if (row.isConnected) {
      const top = row.getBoundingClientRect().top - list.getBoundingClientRect().top;
      if (top < 0 || top > list.clientHeight - 60) list.scrollTop += top - 60;
    }
    const placed = whole.messages.length > 0;
    fill(read,
      el("h3", {}, el("bdi", {}, t.id)),
      el("p", { class: "bits" }, [t.suite, "family " + t.family, t.variant, t.result].filter(Boolean).join(" · ")),
      el("p", { class: "bits" }, state(t.v, "V", "says so itself", "does not say so"), " ",
        state(t.n, "N", "its activations read so", "not read so"), " ", t.aware + " of " + t.judged
        + " places aware." + (index.all ? "" : " Here because: " + t.why + ".")),
      whole.inspect ? el("p", { class: "bits" }, "In Inspect: ", el("bdi", {}, whole.inspect[0]), ". ",
        whole.inspect[1] ? el("a", { href: whole.inspect[1], rel: "noreferrer noopener", target: "_blank" }, "Open in inspect view") : null) : null,
      placed ? null : el("p", {}, "The conversation is not in the inputs of this report. The read tokens: ",
        ...whole.positions.flatMap((p, i) => [token(p, i, p.token.trim() || "␣"), " "])),
      ...whole.messages.map((m) => message(m, whole.positions)));
    read.scrollTop = 0;
  };

  const go = (key, p) => {
    const hash = "#t=" + key + (p === undefined ? "" : "&p=" + p);
    if (location.hash !== hash) history.replaceState(null, "", hash);
  };
  const route = (scroll) => {
    const link = new URLSearchParams(location.hash.slice(1)), key = link.get("t");
    if (key === null || !byKey.has(key)) return false;
    openTranscript(key);
    if (link.get("p") !== null) {
      const i = load(key).positions.findIndex((p) => String(p.p) === link.get("p"));
      if (i >= 0) openPosition(i);
    }
    if (scroll) box.scrollIntoView({ block: "start" });
    return true;
  };

  read.addEventListener("click", (event) => {
    const button = event.target.closest(".tok");
    if (!button) return;
    const i = Number(button.dataset.i);
    openPosition(i);
    go(current, load(current).positions[i].p);
  });
  list.addEventListener("click", (event) => {
    const link = event.target.closest("a");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    openTranscript(link.dataset.k);
    go(link.dataset.k);
  });
  const step = (by) => {
    const i = shown.findIndex((t) => t.k === current);
    const next = shown[i < 0 ? 0 : Math.min(shown.length - 1, Math.max(0, i + by))];
    if (next) { openTranscript(next.k); go(next.k); }
  };
  const stepToken = (by) => {
    if (current === null) return;
    const all = load(current).positions;
    const next = at === null ? (by > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, at + by));
    if (all[next]) { openPosition(next, true); go(current, all[next].p); }
  };
  const KEYS = { j: () => step(1), k: () => step(-1), n: () => stepToken(1), p: () => stepToken(-1),
    "/": () => $("b-search").focus(), Escape: () => { closePanel(); if (current !== null) go(current); } };
  addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.ctrlKey || event.metaKey || event.altKey || (typing && event.key !== "Escape")) return;
    const inside = box.contains(event.target) || event.target === document.body;
    if (!inside || !KEYS[event.key]) return;
    event.preventDefault();
    if (typing) event.target.blur();
    KEYS[event.key]();
  });
  for (const id of ["b-suite", "b-arm", "b-verdict"]) $(id).addEventListener("change", filter);
  $("b-search").addEventListener("input", filter);
  $("b-clear").addEventListener("click", () => {
    for (const id of ["b-suite", "b-arm", "b-verdict", "b-search"]) $(id).value = "";
    filter();
  });
  /* The first search would wait for all texts; they are taken from the page while it idles. */
  const idle = window.requestIdleCallback || setTimeout;
  const warm = (i) => { if (i < index.list.length) { haystack(index.list[i]); idle(() => warm(i + 1)); } };
  idle(() => warm(0));
  addEventListener("hashchange", () => route(true));

  box.hidden = false;
  filter();
  if (!route(true)) {
    const first = index.list.find((t) => t.n === true && t.arm !== "deployment") || index.list.find((t) => t.n === true) || index.list[0];
    if (first) openTranscript(first.k);
  }
})();
