"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($("data").textContent);
  const stage = $("stage"), card = $("card"), spec = $("spec"), status = $("status");
  const lines = [...spec.querySelectorAll(".line")];
  const NAMESPACE = "http://www.w3.org/2000/svg";
  let variants = {}, items = {};
  let folded = data.folded, steps = data.steps;
  let view = { x: 0, y: 0, scale: 1 };

  // What is drawn -----------------------------------------------------------------------------
  const keyOf = (mask, count) => mask + "|" + count;
  const base = (key) => key.replace(/_at_(before)?\d+$/, "").replace(/_more_(after|before)$/, "");

  function nearest(mask, count) {
    if (variants[keyOf(mask, count)]) return mask;
    const all = (1 << data.units.length) - 1;
    return variants[keyOf(all, count)] && mask ? all : 0;
  }

  function show(mask, count, said) {
    mask = nearest(mask, count);
    if (!variants[keyOf(mask, count)]) return;
    folded = mask;
    steps = count;
    const parsed = new DOMParser().parseFromString(variants[keyOf(mask, count)], "image/svg+xml");
    stage.replaceChildren(document.importNode(parsed.documentElement, true));
    prepare();
    fit();
    if (said) status.textContent = said;
  }

  function prepare() {
    const svg = stage.querySelector("svg");
    svg.removeAttribute("width");
    svg.removeAttribute("height");
    for (const item of svg.querySelectorAll(".drawing .box, .drawing .cluster")) {
      const known = items[base(item.id)];
      if (!known) continue;
      item.setAttribute("tabindex", "0");
      item.setAttribute("role", unitOf(item.id) >= 0 ? "button" : "img");
      item.setAttribute("aria-label", known.label);
    }
    for (const button of document.querySelectorAll("[data-steps]"))
      button.setAttribute("aria-pressed", String(Number(button.dataset.steps) === steps));
  }

  const unitOf = (id) => data.units.findIndex((unit) => unit.keys.includes(base(id)));

  function toggle(unit) {
    if (unit < 0) return;
    const mask = folded ^ (1 << unit);
    const verb = mask & (1 << unit) ? "folded " : "unfolded ";
    show(mask, steps, verb + data.units[unit].label);
    const target = data.units[unit].keys.map((key) => stage.querySelector(
      "#" + key + ", #" + key + "_at_0")).find(Boolean);
    if (target) target.focus({ preventScroll: true });
  }

  // Zoom and pan ------------------------------------------------------------------------------
  function place() {
    const svg = stage.querySelector("svg");
    if (svg) svg.style.transform = `translate(${view.x}px,${view.y}px) scale(${view.scale})`;
  }

  function fit() {
    const svg = stage.querySelector("svg"), room = stage.getBoundingClientRect();
    const [, , width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
    svg.style.width = width + "px";
    svg.style.height = height + "px";
    const scale = Math.min(room.width / width, room.height / height, 1.6) || 1;
    view = { scale, x: (room.width - width * scale) / 2, y: (room.height - height * scale) / 2 };
    place();
  }

  function zoom(factor, x, y) {
    const room = stage.getBoundingClientRect();
    if (x === undefined) [x, y] = [room.width / 2, room.height / 2];
    const scale = Math.min(8, Math.max(0.1, view.scale * factor));
    const real = scale / view.scale;
    view = { scale, x: x - (x - view.x) * real, y: y - (y - view.y) * real };
    place();
  }

  const pointers = new Map();
  let dragged = 0;
  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    const room = stage.getBoundingClientRect();
    zoom(Math.exp(-event.deltaY / 400), event.clientX - room.left, event.clientY - room.top);
  }, { passive: false });
  stage.addEventListener("pointerdown", (event) => {
    pointers.set(event.pointerId, event);
    dragged = 0;
  });
  addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const other = [...pointers.values()].find((p) => p.pointerId !== event.pointerId);
    if (other) {
      const gap = (p) => Math.hypot(p.clientX - other.clientX, p.clientY - other.clientY) || 1;
      const room = stage.getBoundingClientRect();
      zoom(gap(event) / gap(before), other.clientX - room.left, other.clientY - room.top);
    } else {
      view.x += event.clientX - before.clientX;
      view.y += event.clientY - before.clientY;
      dragged += Math.abs(event.clientX - before.clientX) + Math.abs(event.clientY - before.clientY);
      place();
    }
    pointers.set(event.pointerId, event);
  });
  for (const name of ["pointerup", "pointercancel"])
    addEventListener(name, (event) => pointers.delete(event.pointerId));

  // Picture and spec point at each other ------------------------------------------------------
  const itemAt = (target) => target.closest ? target.closest(".drawing .box, .drawing .cluster") : null;

  function placeOf(known) {
    const seen = new Set();
    while (known && !seen.has(known)) {
      seen.add(known);
      if (known.place && known.place.file === data.file) return known.place;
      known = items[known.cluster];
    }
    return null;
  }

  function clear() {
    for (const line of lines) {
      if (line.querySelector("mark")) line.textContent = line.textContent;
      line.classList.remove("hit");
    }
    for (const item of stage.querySelectorAll(".hot, .near"))
      item.classList.remove("hot", "near");
  }

  function markSpec(where) {
    for (let number = where.line; number <= where.end_line; number += 1) {
      const line = lines[number - 1];
      if (!line) continue;
      const letters = Array.from(line.textContent);
      const first = number === where.line ? where.column - 1 : 0;
      const last = number === where.end_line ? where.end_column - 1 : letters.length;
      const mark = document.createElement("mark");
      mark.textContent = letters.slice(first, last).join("");
      line.replaceChildren(letters.slice(0, first).join(""), mark, letters.slice(last).join(""));
      line.classList.add("hit");
      if (number === where.line) line.scrollIntoView({ block: "nearest" });
    }
  }

  function point(item) {
    clear();
    const known = item && items[base(item.id)];
    card.replaceChildren();
    if (!known) {
      card.append("Point at a box: its shape, parameters, equation and line of the spec.");
      return;
    }
    item.classList.add("hot");
    for (const edge of stage.querySelectorAll(".edge"))
      if (edge.dataset.from === item.id || edge.dataset.to === item.id) edge.classList.add("near");
    const title = document.createElement("h2");
    title.textContent = known.label;
    card.append(title);
    const list = document.createElement("dl");
    for (const [name, value] of known.details) {
      const term = document.createElement("dt"), text = document.createElement("dd");
      term.textContent = name;
      text.textContent = value;
      list.append(term, text);
    }
    card.append(list);
    if (known.place) {
      const where = document.createElement("p"), quoted = document.createElement("pre");
      where.textContent = `${known.place.file}, line ${known.place.line}`;
      quoted.textContent = known.place.text;
      card.append(where, quoted);
    }
    if (unitOf(item.id) >= 0) {
      const hint = document.createElement("p");
      hint.textContent = "Click, or press Enter, to fold or unfold.";
      card.append(hint);
    }
    const where = placeOf(known);
    if (where) markSpec(where);
  }

  stage.addEventListener("pointerover", (event) => {
    if (!pointers.size) {
      const item = itemAt(event.target);
      if (item) point(item);
    }
  });
  stage.addEventListener("focusin", (event) => point(itemAt(event.target)));
  stage.addEventListener("click", (event) => {
    const item = itemAt(event.target);
    if (!item || dragged > 6) return;
    point(item);
    const frame = item.classList.contains("cluster");
    if (!frame || event.target.closest("text") || event.target === item.querySelector("rect"))
      toggle(unitOf(item.id));
  });
  stage.addEventListener("pointerleave", () => { if (!stage.contains(document.activeElement)) point(null); });

  lines.forEach((line, index) => line.addEventListener("pointerenter", () => {
    clear();
    const number = index + 1;
    let smallest = Infinity;
    const hits = [];
    for (const item of stage.querySelectorAll(".drawing .box, .drawing .cluster")) {
      const where = placeOf(items[base(item.id)]);
      if (!where || number < where.line || number > where.end_line) continue;
      const size = where.end_line - where.line;
      smallest = Math.min(smallest, size);
      hits.push([item, size]);
    }
    for (const [item, size] of hits) if (size === smallest) item.classList.add("hot");
    if (hits.length) line.classList.add("hit");
  }));
  spec.addEventListener("pointerleave", clear);

  // Buttons and keys --------------------------------------------------------------------------
  function theme() {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    status.textContent = root.dataset.theme + " colours";
  }

  const all = () => (1 << data.units.length) - 1;
  const actions = {
    "+": () => zoom(1.25), "=": () => zoom(1.25), "-": () => zoom(0.8), "0": fit,
    ArrowLeft: () => { view.x += 60; place(); }, ArrowRight: () => { view.x -= 60; place(); },
    ArrowUp: () => { view.y += 60; place(); }, ArrowDown: () => { view.y -= 60; place(); },
    f: () => show(all(), steps, "all operators folded"),
    u: () => show(0, steps, "all operators unfolded"),
    "1": () => show(folded, 0, "rolled up"), "2": () => show(folded, 2, "two steps"),
    "3": () => show(folded, 3, "three steps"),
    d: theme, Escape: () => { document.activeElement.blur(); point(null); },
  };
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const item = itemAt(event.target);
    if (item && (event.key === "Enter" || event.key === " ")) {
      event.preventDefault();
      toggle(unitOf(item.id));
    } else if (actions[event.key] && !event.target.closest("button, pre")) {
      event.preventDefault();
      actions[event.key]();
    }
  });
  for (const button of document.querySelectorAll("button[data-key]"))
    button.addEventListener("click", () => actions[button.dataset.key]());
  addEventListener("resize", fit);

  async function unpack() {
    const first = new XMLSerializer().serializeToString(stage.querySelector("svg"));
    const bytes = Uint8Array.from(atob($("packed").textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    ({ items, pictures: variants } = JSON.parse(await new Response(stream).text()));
    variants[keyOf(folded, steps)] = first;
    prepare();
    const has = (count) => Object.keys(variants).some((key) => key.endsWith("|" + count));
    for (const button of document.querySelectorAll("[data-steps]"))
      if (!has(Number(button.dataset.steps))) {
        button.disabled = true;
        button.title = "too large to be kept in this page";
      }
    for (const button of document.querySelectorAll(".folding"))
      button.disabled = !data.units.length;
    document.documentElement.dataset.ready = "yes";
  }

  point(null);
  const unpacked = unpack();
  prepare();
  fit();
  unpacked.catch((error) => { status.textContent = "This browser shows the picture as it is: " + error.message; });
})();
