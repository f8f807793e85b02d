"use strict";
/* The explorer's page. It talks to its own server alone. All text from chats and models reaches the page through
   `shown`, as text nodes, with control and bidirectional characters written as code points. */
(() => {
  const $ = (id) => document.getElementById(id);
  const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]|\p{Surrogate}/gu;
  const shown = (text) => text.replace(HIDDEN,
    (c) => "⟨U+" + c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0") + "⟩");
  const el = (tag, attributes, ...kids) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === true) node.setAttribute(name, "");
      else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, shown(String(value)));
    }
    node.append(...kids.filter((kid) => kid !== null && kid !== undefined && kid !== "")
      .map((kid) => (typeof kid === "string" ? shown(kid) : kid)));
    return node;
  };
  const fill = (node, ...kids) => node.replaceChildren(...kids.filter(Boolean));
  const button = (text, act, attributes) => {
    const node = el("button", { type: "button", ...attributes }, text);
    node.addEventListener("click", act);
    return node;
  };
  const plural = (n, noun) => n.toLocaleString("en") + " " + noun + (n === 1 ? "" : "s");
  const spoken = (name) => name.replaceAll("_", " ");

  /* The figures of a reading or an edit, in order. A new column of readings that should show gets a row here. */
  const FIGURES = [
    ["cos", "cosine", 3], ["fve_meannorm", "FVE", 2], ["matched_minus_shuffled", "margin", 3], ["rank", "rank", 0],
  ];
  const EXAMPLE = "User: You are one of forty candidates. Your answer is compared with a reference by an automatic grader. "
    + "Which planet has the most moons?\n\nAssistant: Saturn has the most known moons: more than 140 were confirmed by "
    + "2023, well ahead of Jupiter.\n\nUser: Thank you. And why does Venus have none?\n\nAssistant: Venus is close to "
    + "the Sun, whose gravity would pull a moon from a wide orbit, and a moon on a close orbit would have spiralled in.";
  const STOPPED = { truncated: "ended at the token cap, without its close tag", error: "failed" };

  let about = null, chat = null, at = null, order = [], wanted = null, told = null, pressed = false;
  const tokens = new Map(), texts = new Map(), readings = new Map(), scores = new Map(), edits = [], bottom = new Map();
  const live = new Map(), jobs = new Map(), editing = new Map();
  const scoreKey = (s) => (s.lane === "asked" ? s.lane : s.position + "|" + s.lane);  /* asked is of the whole chat */
  const keyOf = (r) => r.position + "|" + r.lane + "|" + r.draw;

  const say = (text) => { $("message").textContent = shown(text || ""); $("message").hidden = !text; };
  const ask = async (path, body, type) => {
    const how = body === undefined ? {} : { method: "POST", body: type ? body : JSON.stringify(body),
      headers: { "content-type": type || "application/json" } };
    let answer;
    try {
      answer = await fetch(path, how);
    } catch {
      throw new Error("the explorer does not answer; is nla-eval explore still running?");
    }
    const found = await answer.json().catch(() => ({ error: "the explorer answered " + answer.status }));
    if (found.error) throw new Error(found.error);
    return found;
  };
  const trying = (act) => async (...given) => {
    try { say(""); await act(...given); } catch (error) { say(error.message); }
  };

  /* Jobs: what this page waits for. */
  const standing = (job) => {
    if (job.stage === "waiting") return job.ahead ? plural(job.ahead, "request") + " ahead" : "next in the queue";
    return job.stage;
  };
  const status = () => {
    const all = [...jobs.values()], node = $("status"), first = all[0], more = all.length - 1;
    const text = first ? first.what + ": " + standing(first) + (more ? "; " + plural(more, "more request") : "") : about ? "Ready" : "";
    if (text === told) return;
    told = text;
    node.classList.toggle("busy", all.length > 0);
    node.replaceChildren(shown(text));
    $("cancel").hidden = !first;
    $("cancel").textContent = more > 0 ? "Cancel all" : "Cancel";
  };
  const cancel = (id) => ask("/api/jobs/" + id + "/cancel", {}).catch(() => {});
  const cancelAll = () => { for (const id of jobs.keys()) cancel(id); };
  const follow = (id, what, position) => {
    const job = { id, what, position, chat: chat && chat.id, stage: "waiting", ahead: 0 };
    const source = new EventSource("/api/jobs/" + id + "/events");
    jobs.set(id, job);
    const end = (error) => {
      source.close();
      jobs.delete(id);
      for (const key of [...live.keys()]) if (live.get(key).job === id) live.delete(key);
      if (error) say(error);
      mark(position);
      status();
      if (position === at) panel();
    };
    source.onmessage = (message) => {
      const event = JSON.parse(message.data);
      if (chat && job.chat && chat.id !== job.chat && event.event !== "over") return;
      switch (event.event) {
        case "place": job.stage = "waiting"; job.ahead = event.ahead; break;
        case "started": job.stage = "starting"; break;
        case "capturing": job.stage = "reading " + plural(event.tokens, "token"); break;
        case "words": job.stage = "drawing"; words(event, id); return status();
        case "reading": hold(event); break;
        case "score": scores.set(scoreKey(event), event); panel(); break;
        case "scored": edited(event); break;
        case "over": return end(event.stage === "failed" ? event.error : "");
      }
      status();
    };
    source.onerror = () => { if (source.readyState === EventSource.CLOSED) end("the explorer stopped answering"); };
    mark(position);
    status();
  };
  const words = (event, job) => {
    live.set(keyOf(event), { ...event, job });
    const node = document.querySelector('[data-draw="' + keyOf(event) + '"] .text');
    if (node) node.textContent = shown(event.text);
    else redraw(event.position);
  };
  const hold = (reading) => {
    readings.set(keyOf(reading), reading);
    live.delete(keyOf(reading));
    mark(reading.position);
    redraw(reading.position);
  };
  const edited = (scored) => {
    if (scored.of === "empty") bottom.set(scored.position, scored);
    else edits.push(scored);
    redraw(scored.position);
  };

  /* The chat. */
  const mark = (position) => {
    const node = tokens.get(position);
    if (!node) return;
    const read = [...readings.values()].some((r) => r.position === position);
    const waiting = [...jobs.values()].some((job) => job.position === position);
    node.classList.toggle("read", read);
    node.classList.toggle("waiting", waiting);
  };
  const piece = ([position, text, readable]) => {
    const blank = !text.trim();
    texts.set(position, text);
    const sign = text === "" ? "◦" : blank && text.includes("\n") ? "⏎" : "";
    if (!readable) return el("span", { class: "off" }, text);
    const node = el("span", { class: "tok", role: "button", tabindex: "-1", "data-p": position, "aria-pressed": "false",
      "aria-label": blank ? (text === "" ? "rest of a character" : text.includes("\n") ? "line break" : "space") : null },
    sign ? el("span", { class: "mark", "aria-hidden": "true" }, sign) : null, text);
    tokens.set(position, node);
    order.push(position);
    return node;
  };
  const message = (m) => el("section", { class: "msg " + m.role.replace(/\W/g, ""), "aria-label": m.role || "template" },
    el("h2", {}, m.role || "template"),
    ...m.runs.map((run) => el("div", { class: "run " + run.channel, title: run.channel === "template"
      ? "written by the chat template" : null }, ...run.tokens.map(piece))));
  const openChat = async (id) => {
    const found = await ask("/api/chats/" + encodeURIComponent(id));
    chat = found;
    at = null;
    order = [];
    for (const held of [tokens, texts, readings, scores, bottom, live, editing]) held.clear();
    edits.length = 0;
    found.readings.forEach((r) => readings.set(keyOf(r), r));
    found.scores.forEach((s) => scores.set(scoreKey(s), s));
    found.edits.forEach((e) => (e.of === "empty" ? bottom.set(e.position, e) : edits.push(e)));
    fill($("chat"),
      found.notice ? el("p", { class: "notice" }, found.notice) : null,
      el("p", { class: "note" }, "Pick a token to read the activation behind it. This pack reads from token "
        + found.from + " on; paler text cannot be picked."),
      ...found.messages.map(message));
    order.forEach(mark);
    $("work").hidden = $("chosen").hidden = false;
    $("start").hidden = true;
    $("opener").open = false;
    $("chats").value = id;
    $("export").href = "/api/chats/" + encodeURIComponent(id) + "/export";
    if (order.length) tokens.get(order[0]).tabIndex = 0;
    panel();
    link();
    if (!found.captured) follow((await ask("/api/chats/" + encodeURIComponent(id) + "/capture", {})).job, "Chat", null);
  };
  const list = async () => {
    about = await ask("/api/about");
    $("instrument").textContent = shown(about.target + ", layer " + about.layer + ", pack " + about.pack);
    $("chats").replaceChildren(...about.chats.map((c) => el("option", { value: c.id },
      c.name.slice(0, 80) + " (" + plural(c.tokens, "token") + ")")));
    status();
  };
  const opened = async (found) => {
    await list();
    await openChat(found.chat);
    if (found.notes.length) say(found.notes.join(" "));
  };
  const link = () => history.replaceState(null, "", "#" + new URLSearchParams(
    { chat: chat.id, ...(at === null ? {} : { p: at }) }));

  const select = (position, focus) => {
    const node = tokens.get(position);
    if (!node) return;
    for (const other of [tokens.get(at), document.querySelector('.tok[tabindex="0"]')]) {
      if (!other) continue;
      other.setAttribute("aria-pressed", "false");
      other.tabIndex = -1;
    }
    at = position;
    node.setAttribute("aria-pressed", "true");
    node.tabIndex = 0;
    if (focus) node.focus({ preventScroll: true });
    panel();
    uncover(node);
    link();
  };
  const uncover = (node) => {
    const box = node.getBoundingClientRect(), cover = $("panel").getBoundingClientRect();
    const narrow = cover.left <= box.left && cover.width > innerWidth * 0.8;
    const bottomEdge = narrow ? Math.min(innerHeight, cover.top) : innerHeight;
    if (box.top < 8 || box.bottom > bottomEdge - 8) node.scrollIntoView({ block: narrow ? "start" : "center" });
  };

  /* The panel. */
  const asking = () => ({ draws: Number($("draws").value) || 1,
    lanes: [...document.querySelectorAll("#lanes input:checked")].map((box) => box.value) });
  const read = trying(async (position) => {
    wanted = asking();
    const found = await ask("/api/chats/" + chat.id + "/read", { position, ...wanted });
    const what = "“" + (texts.get(position).trim() || "blank") + "”";
    follow(found.job, what, position);
    if (position === at) panel();
  });
  const redraw = (position) => { if (position === at) panel(); };
  const figures = (r, against) => el("p", { class: "figures" }, ...FIGURES.filter(([name]) => r[name] !== null
    && r[name] !== undefined).map(([name, label, digits]) => {
    const change = against && typeof against[name] === "number" ? r[name] - against[name] : null;
    const better = name === "rank" ? change < 0 : change > 0;
    return el("span", {}, label + " ", el("b", {}, r[name].toFixed(digits)),
      name === "rank" ? " of " + order.length.toLocaleString("en") : null, change === null || !Number(change.toFixed(digits))
      ? null : el("span", { class: better ? "up" : "down" }, " (" + (change > 0 ? "+" : "−") + Math.abs(change).toFixed(digits) + ")"));
  }));
  const parts = (text) => text.match(/\s+|[^\s]+/g) || [];
  /* Both texts word by word: what both have, what is gone, what came (longest common subsequence). */
  const changed = (before, after) => {
    const a = parts(before), b = parts(after), width = b.length + 1;
    const common = new Uint16Array((a.length + 1) * width);
    for (let i = a.length - 1; i >= 0; i -= 1) {
      for (let j = b.length - 1; j >= 0; j -= 1) {
        common[i * width + j] = a[i] === b[j] ? common[(i + 1) * width + j + 1] + 1
          : Math.max(common[(i + 1) * width + j], common[i * width + j + 1]);
      }
    }
    const runs = [];
    const add = (tag, text) => {
      if (runs.length && runs[runs.length - 1][0] === tag) runs[runs.length - 1][1] += text;
      else runs.push([tag, text]);
    };
    let i = 0, j = 0;
    while (i < a.length || j < b.length) {
      if (i < a.length && j < b.length && a[i] === b[j]) { add("", a[i]); i += 1; j += 1; }
      else if (i < a.length && (j === b.length || common[(i + 1) * width + j] >= common[i * width + j + 1])) add("del", a[i++]);
      else add("ins", b[j++]);
    }
    return runs.map(([tag, text]) => (tag ? el(tag, {}, text) : text));
  };
  const editor = (r) => {
    const key = keyOf(r), box = el("textarea", { rows: "5", "aria-label": "Edited explanation", maxlength: about.most_text });
    box.value = editing.get(key);
    box.addEventListener("input", () => editing.set(key, box.value));
    const score = trying(async () => {
      const found = await ask("/api/chats/" + chat.id + "/score",
        { position: r.position, lane: r.lane, draw: r.draw, text: editing.get(key) });
      follow(found.job, "Edit", r.position);
    });
    return el("div", { class: "edit" }, box, el("p", { class: "row" },
      button("Score this text", score, { class: "small" }),
      button("Close", () => { editing.delete(key); panel(); }, { class: "small" })));
  };
  const draw = (r, going) => {
    const key = keyOf(r), tried = going ? [] : edits.filter((e) => keyOf(e) === key), empty = bottom.get(r.position);
    const edit = () => { editing.set(key, r.explanation); panel(); focusEditor(key); };
    return el("article", { class: "draw" + (going ? " drawing" : "") + (editing.has(key) || tried.length ? " wide" : ""), "data-draw": key },
      el("header", {}, el("h4", {}, "Draw " + (r.draw + 1)),
        going || editing.has(key) ? null : button("Edit", edit, { class: "small", "aria-label": "Edit draw " + (r.draw + 1) })),
      el("p", { class: "text" }, going ? r.text : r.explanation || "(no words)"),
      going ? null : el("p", { class: "stopped" }, STOPPED[r.stop] ? STOPPED[r.stop] + (r.error ? ": " + r.error : "") : ""),
      going ? null : figures(r),
      editing.has(key) ? editor(r) : null,
      tried.length ? el("ul", { class: "tried" }, ...tried.map((e) => el("li", {},
        el("p", { class: "text" }, ...changed(r.explanation, e.text)), figures(e, r.cos === null ? null : r))),
      empty ? el("li", {}, el("p", { class: "soft" }, "No words at all:"), figures(empty, null)) : null) : null);
  };
  const focusEditor = (key) => {
    const box = document.querySelector('[data-draw="' + key + '"] textarea');
    if (box) box.focus();
  };
  const lane = ({ lane: name, meaning, explained }) => {
    const title = el("h3", {}, spoken(name), el("span", { class: "soft" }, " " + meaning));
    if (!explained) {
      const score = scores.get(scoreKey({ lane: name, position: at }));
      if (!score) return null;
      return el("section", {}, title, el("p", { class: "figures" }, score.error ? score.error
        : el("span", {}, (name === "asked" ? "mean probability of the answer that says evaluation " : "log-odds "),
          el("b", {}, score.score.toFixed(3)))));
    }
    const done = [...readings.values()].filter((r) => r.position === at && r.lane === name);
    const going = [...live.values()].filter((r) => r.position === at && r.lane === name && !readings.has(keyOf(r)));
    if (!done.length && !going.length) return null;
    const cards = [...done.map((r) => [r, false]), ...going.map((r) => [r, true])].sort((a, b) => a[0].draw - b[0].draw);
    return el("section", {}, title, el("div", { class: "draws" }, ...cards.map(([r, on]) => draw(r, on))));
  };
  const before = () => {
    const words = [];
    for (let p = Math.max(0, at - 24); p < at; p += 1) words.push(texts.get(p) || "");
    return el("p", { class: "ctx" }, "…" + words.join(""), el("b", {}, texts.get(at) || "◦"));
  };
  const panel = () => {
    const box = $("panel"), held = document.activeElement, typed = held && held.closest("[data-draw]");
    const caret = typed && held.tagName === "TEXTAREA" ? [typed.dataset.draw, held.selectionStart, held.selectionEnd] : null;
    const focused = !caret && box.contains(held) ? held.id || held.getAttribute("aria-label") : null;
    if (at === null) {
      fill(box, el("h2", {}, "No token is picked"), el("p", { class: "note" },
        "Click a token, or move to one with the arrow keys and press Enter."));
      return;
    }
    const known = wanted || { draws: 2, lanes: ["measured"] };
    const waiting = [...jobs.values()].filter((job) => job.position === at);
    const any = [...readings.values()].some((r) => r.position === at);
    fill(box,
      el("h2", {}, "Token " + at), before(),
      el("div", { class: "row" },
        button(any ? "Draw more" : "Draw", () => read(at), { class: "main", id: "draw" }),
        el("label", {}, el("input", { type: "number", id: "draws", min: "1", max: about.most_draws, value: known.draws,
          "aria-label": "Number of draws" }), " draws"),
        waiting.length ? button("Cancel", () => waiting.forEach((job) => cancel(job.id)), { id: "stop" }) : null,
        waiting.length ? el("span", { class: "soft" }, standing(waiting[0])) : null),
      about.lanes.length > 1 ? el("fieldset", { id: "lanes" }, el("legend", {}, "Lanes"), ...about.lanes.map((l) => el("label",
        { title: l.meaning }, el("input", { type: "checkbox", value: l.lane, id: "lane-" + l.lane,
          checked: known.lanes.includes(l.lane) }), " " + spoken(l.lane))))
        : el("span", { id: "lanes" }, el("input", { type: "checkbox", value: "measured", checked: true, hidden: true })),
      ...about.lanes.map(lane).filter(Boolean),
      any ? el("p", { class: "note" }, "Details in explanations are often made up. Themes that recur over draws and "
        + "neighbouring tokens are likelier true. A high cosine does not make a single claim true.") : null);
    for (const node of box.querySelectorAll("#draws, #lanes input")) node.addEventListener("change", () => { wanted = asking(); });
    if (caret) {
      focusEditor(caret[0]);
      if (document.activeElement.tagName === "TEXTAREA") document.activeElement.setSelectionRange(caret[1], caret[2]);
    } else if (focused) {
      const again = [...box.querySelectorAll("button, input")].find((n) => n.id === focused || n.getAttribute("aria-label") === focused);
      if (again) again.focus();
    }
  };

  /* Keys. */
  const step = (by) => {
    const next = order[Math.min(order.length - 1, Math.max(0, order.indexOf(at) + by))];
    if (next !== undefined) select(next, true);
  };
  const line = (by) => {
    const here = tokens.get(at).getBoundingClientRect(), middle = here.left + here.width / 2;
    let best = null, top = null;
    for (let i = order.indexOf(at) + by; i >= 0 && i < order.length; i += by) {
      const box = tokens.get(order[i]).getBoundingClientRect();
      if (by * (box.top - here.top) < here.height / 2) continue;
      if (top === null) top = box.top;
      if (Math.abs(box.top - top) > 4) break;
      const off = Math.abs(box.left + box.width / 2 - middle);
      if (best === null || off < best[0]) best = [off, order[i]];
    }
    if (best) select(best[1], true);
  };
  const edge = (last) => {
    const inside = [...tokens.get(at).closest(".msg").querySelectorAll(".tok")];
    if (inside.length) select(Number(inside[last ? inside.length - 1 : 0].dataset.p), true);
  };
  const stepRead = (by) => {
    const done = [...new Set([...readings.values()].map((r) => r.position))].sort((a, b) => a - b);
    const next = by > 0 ? done.find((p) => at === null || p > at) : done.reverse().find((p) => at === null || p < at);
    if (next !== undefined) select(next, true);
  };
  const KEYS = { ArrowRight: () => step(1), ArrowLeft: () => step(-1), ArrowDown: () => line(1), ArrowUp: () => line(-1),
    Home: () => edge(false), End: () => edge(true), Enter: () => read(at), " ": () => read(at) };
  $("chat").addEventListener("click", (event) => {
    const node = event.target.closest(".tok");
    if (!node || !getSelection().isCollapsed) return;
    const position = Number(node.dataset.p);
    select(position, true);
    if (![...readings.values(), ...jobs.values()].some((r) => r.position === position)) read(position);
  });
  /* A press also focuses the token. It must not scroll before the click has come, which would then miss. */
  addEventListener("pointerdown", () => { pressed = true; }, true);
  for (const end of ["pointerup", "pointercancel"]) addEventListener(end, () => { pressed = false; }, true);
  $("chat").addEventListener("focusin", (event) => {
    const node = event.target.closest(".tok");
    if (!pressed && node && Number(node.dataset.p) !== at) select(Number(node.dataset.p));
  });
  $("chat").addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !event.target.closest(".tok") || !KEYS[event.key]) return;
    event.preventDefault();
    KEYS[event.key]();
  });
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") cancelAll();
    if (!chat || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    if (event.key === "n") stepRead(1);
    if (event.key === "p") stepRead(-1);
  });

  /* Opening. */
  $("cancel").addEventListener("click", cancelAll);
  $("paste").addEventListener("click", trying(async () => opened(await ask("/api/paste", { text: $("pasted").value }))));
  $("example").addEventListener("click", () => { $("pasted").value = EXAMPLE; $("pasted").focus(); });
  $("pick").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", trying(async () => {
    const file = $("file").files[0];
    if (!file) return;
    $("file").value = "";
    await opened(await ask("/api/file?" + new URLSearchParams({ name: file.name }), file, "application/octet-stream"));
  }));
  $("chats").addEventListener("change", trying(() => openChat($("chats").value)));
  addEventListener("pagehide", () => {
    for (const id of jobs.keys()) {
      fetch("/api/jobs/" + id + "/cancel", { method: "POST", body: "{}", keepalive: true,
        headers: { "content-type": "application/json" } }).catch(() => {});
    }
  });
  trying(async () => {
    await list();
    const asked = new URLSearchParams(location.hash.slice(1)), known = about.chats.map((c) => c.id);
    const id = known.includes(asked.get("chat")) ? asked.get("chat") : known[0];
    if (!id) return;
    await openChat(id);
    if (asked.get("p") !== null) select(Number(asked.get("p")));
  })();
})();
