"use strict";
/* The moving parts of the run's page: the read-out of curves, the browser of answers. theme.js stands before it.
   What a model wrote reaches the screen as text nodes only, never as markup. */
(() => {
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($("page-data").textContent);

  /** An element with a class and children; strings become text nodes. */
  const element = (tag, css, ...children) => {
    const made = document.createElement(tag);
    if (css) made.className = css;
    made.append(...children);
    return made;
  };

  // ── curves ────────────────────────────────────────────────────────────────────────────────────────────────────

  const number = (value) => {
    if (value === 0) return "0";
    const size = Math.abs(value);
    if (size >= 1000) return Math.round(value).toLocaleString("en");
    return size < 1e-3 ? value.toExponential(1).replace("e-0", "e-") : String(Number(value.toPrecision(3)));
  };
  const charts = [...document.querySelectorAll("svg[data-curve]")].map((svg) => ({
    svg,
    ...data.curves[svg.dataset.curve],
    readout: document.querySelector(`[data-readout="${CSS.escape(svg.dataset.curve)}"]`),
    line: svg.querySelector(".cursor"),
    dot: svg.querySelector(".cursor-dot"),
  }));
  const nearest = (xs, x) => {
    let best = 0;
    xs.forEach((value, index) => { if (Math.abs(value - x) < Math.abs(xs[best] - x)) best = index; });
    return best;
  };
  const point = (chart, index) => {
    const x = chart.x[index];
    const along = (100 * (x - chart.x[0])) / (chart.x.at(-1) - chart.x[0]);
    const shown = chart.mean.length ? chart.mean[index] : chart.y[index];
    chart.at = index;
    for (const end of ["x1", "x2"]) chart.line.setAttribute(end, `${along}%`);
    chart.dot.setAttribute("cx", `${along}%`);
    chart.dot.setAttribute("cy", `${100 - (100 * (shown - chart.low)) / (chart.high - chart.low)}%`);
    for (const part of [chart.line, chart.dot]) part.setAttribute("visibility", "visible");
    const mean = chart.mean.length ? `, mean ${number(chart.mean[index])}` : "";
    chart.readout.textContent = `step ${x.toLocaleString("en")}: ${number(chart.y[index])}${mean}`;
  };
  /** Point all curves of one training at the same step, so that they can be read together. */
  const pointTogether = (chart, x) => {
    for (const other of charts) if (other.of === chart.of) point(other, nearest(other.x, x));
  };
  const rest = () => {
    for (const chart of charts) {
      for (const part of [chart.line, chart.dot]) part.setAttribute("visibility", "hidden");
      chart.readout.textContent = chart.readout.dataset.rest;
      chart.at = undefined;
    }
  };
  for (const chart of charts) {
    chart.svg.addEventListener("pointermove", (event) => {
      const box = chart.svg.getBoundingClientRect();
      const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
      pointTogether(chart, chart.x[0] + share * (chart.x.at(-1) - chart.x[0]));
    });
    chart.svg.addEventListener("pointerleave", rest);
    chart.svg.addEventListener("blur", rest);
    chart.svg.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const from = chart.at ?? (step > 0 ? -1 : chart.x.length);
      pointTogether(chart, chart.x[Math.min(chart.x.length - 1, Math.max(0, from + step))]);
    });
  }

  // ── differences between two texts ─────────────────────────────────────────────────────────────────────────────

  const LONGEST_DIFF = 900; // words; the table below has that many squared cells
  const LEAST_ALIKE = 0.25; // below this a diff is noise: the answer is shown as it is

  const wordsOf = (text) => text.match(/\s*(?:[\p{L}\p{N}_]+|\S)/gu) ?? [];

  /** Lengths of the longest common subsequences of all suffixes, as one flat table. */
  const commonLengths = (a, b) => {
    const width = b.length + 1;
    const table = new Uint16Array((a.length + 1) * width);
    for (let i = a.length - 1; i >= 0; i--) {
      for (let j = b.length - 1; j >= 0; j--) {
        table[i * width + j] = a[i].trim() === b[j].trim()
          ? table[(i + 1) * width + j + 1] + 1
          : Math.max(table[(i + 1) * width + j], table[i * width + j + 1]);
      }
    }
    return table;
  };

  /** Return [kind, text] pieces that turn `reference` into `text`; null where the two are too long or too unlike. */
  const difference = (reference, text) => {
    const [a, b] = [wordsOf(reference), wordsOf(text)];
    if (!a.length || !b.length || a.length > LONGEST_DIFF || b.length > LONGEST_DIFF) return null;
    const table = commonLengths(a, b);
    if ((2 * table[0]) / (a.length + b.length) < LEAST_ALIKE) return null;
    const pieces = [];
    const push = (kind, word) => {
      if (pieces.length && pieces.at(-1)[0] === kind) pieces.at(-1)[1] += word;
      else pieces.push([kind, word]);
    };
    const width = b.length + 1;
    let [i, j] = [0, 0];
    while (i < a.length || j < b.length) {
      if (i < a.length && j < b.length && a[i].trim() === b[j].trim()) { push("same", b[j]); i++; j++; }
      else if (j >= b.length || (i < a.length && table[(i + 1) * width + j] >= table[i * width + j + 1])) push("del", a[i++]);
      else push("ins", b[j++]);
    }
    return pieces;
  };

  /** Show characters that cannot be seen, or that turn the direction of text around, by their names. */
  const visible = (text) => text.replace(
    /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]/g,
    (char) => `⟨U+${char.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`,
  );

  // ── the browser of answers ────────────────────────────────────────────────────────────────────────────────────

  const browser = data.browser;
  if (!browser) return;
  const { rows, columns, labels, rates, compared, metric } = browser;
  const NAMES = compared
    ? { all: "all", gained: "gained", lost: "lost", right: "both right", wrong: "both wrong" }
    : { all: "all", right: "right", wrong: "wrong" };
  const SIGNS = { gained: "+", lost: "−", right: "✓", wrong: "" };
  const state = { outcome: "all", failure: "", source: "", find: "", visible: [], at: 0 };

  const haystack = (row) => [row.id, row.group, row.source, row.question, row.reference,
    ...row.answers.flatMap((answer) => [answer.text, answer.reason])].join("\n").toLowerCase();
  const haystacks = [];
  const fits = (row, index) => {
    const [column, failure] = state.failure.split(/\|(.*)/s);
    return (state.outcome === "all" || row.outcome === state.outcome)
      && (!state.failure || row.answers[column].class === failure)
      && (!state.source || row.source === state.source)
      && (!state.find || (haystacks[index] ??= haystack(row)).includes(state.find));
  };

  const tally = (items) => {
    const counts = new Map();
    for (const item of items) counts.set(item, (counts.get(item) ?? 0) + 1);
    return [...counts].sort((a, b) => b[1] - a[1]);
  };
  const option = (value, text) => {
    const made = element("option", "", text);
    made.value = value;
    return made;
  };

  const buildFilters = () => {
    const counts = new Map(tally(rows.map((row) => row.outcome)));
    for (const [value, name] of Object.entries(NAMES)) {
      const input = element("input");
      Object.assign(input, { type: "radio", name: "outcome", value, checked: value === "all" });
      const total = value === "all" ? rows.length : counts.get(value) ?? 0;
      const swatch = value === "all" ? "" : element("i", value);
      $("outcomes").append(element("label", "", input, element("span", "", swatch, `${name} `, element("b", "", String(total)))));
    }
    $("by-class").append(option("", "any"));
    columns.forEach((column, index) => {
      const group = element("optgroup");
      group.label = column.label;
      for (const [name, total] of tally(rows.map((row) => row.answers[index].class).filter((name) => name !== "right")))
        group.append(option(`${index}|${name}`, `${visible(name).slice(0, 60)} (${total})`));
      $("by-class").append(group);
    });
    const sources = tally(rows.map((row) => row.source));
    $("source-label").hidden = sources.length < 2;
    $("by-source").append(option("", "any"), ...sources.map(([name, total]) => option(name, `${name} (${total})`)));
  };

  const cells = rows.map((row, index) => {
    const cell = element("button", row.outcome ?? "outside", SIGNS[row.outcome] ?? "·");
    cell.type = "button";
    cell.title = `${row.id}: ${NAMES[row.outcome] ?? "not counted"}`;
    cell.setAttribute("aria-label", `row ${index + 1}, ${cell.title}`);
    cell.tabIndex = -1;
    cell.addEventListener("click", () => go(state.visible.indexOf(index)));
    return cell;
  });

  const box = (text, reference) => {
    const made = element("div", "box");
    made.dir = "auto";
    made.tabIndex = 0;
    const pieces = reference !== undefined && $("marks").checked ? difference(reference, text) : null;
    if (!pieces) made.append(visible(text));
    else made.append(...pieces.map(([kind, part]) => (kind === "same" ? visible(part) : element(kind, "", visible(part)))));
    return made;
  };
  const said = (name, value) => rates.includes(name) ? `${Number((100 * value).toFixed(1))}%` : String(Number(value.toPrecision(4)));
  const answerView = (row, answer, index) => {
    const rate = rates.includes(metric);
    const full = rate && answer.scores[metric] >= 1;
    const value = answer.scores[metric];
    const score = value === undefined ? "not counted" : full ? "✓ right" : `${rate ? "✕ " : ""}${said(metric, value)}`;
    const scores = Object.entries(answer.scores).map(([name, value]) => `${labels[name] ?? name} ${said(name, value)}`).join(" · ");
    const cut = answer.cut ? " · cut at the longest answer allowed" : "";
    return element("div", "",
      element("h3", "", element("span", "", columns[index].label), element("span", full ? "full" : "part", score)),
      box(answer.text, row.reference),
      element("p", "why", visible(answer.reason)),
      element("p", "why", `${scores} · ${answer.tokens} tokens${cut}`));
  };
  const rowView = (row) => {
    const question = box(row.question);
    question.classList.add("question");
    const group = row.group && row.group !== row.id ? `, group ${row.group}` : "";
    return [
      element("div", "given",
        element("div", "", element("h3", "", "Asked ", element("span", "soft", visible(`${row.id} (${row.source}${group})`))), question),
        element("div", "", element("h3", "", "Right answer"), box(row.reference))),
      element("div", "answers", ...row.answers.map((answer, index) => answerView(row, answer, index))),
    ];
  };

  const paint = () => {
    const index = state.visible[state.at];
    cells.forEach((cell, i) => {
      if (i === index) cell.setAttribute("aria-current", "true");
      else cell.removeAttribute("aria-current");
      cell.tabIndex = i === index ? 0 : -1;
    });
    const none = index === undefined;
    $("row").replaceChildren(...(none ? [element("p", "", "No row fits these filters.")] : rowView(rows[index])));
    $("place").textContent = none ? "0 rows" : `row ${state.at + 1} of ${state.visible.length}`;
    $("prev").disabled = none || state.at === 0;
    $("next").disabled = none || state.at === state.visible.length - 1;
  };
  const go = (place) => {
    if (place < 0 || place >= state.visible.length) return;
    const inMap = $("map").contains(document.activeElement);
    state.at = place;
    paint();
    if (inMap) cells[state.visible[place]].focus();
  };
  const filter = () => {
    const current = state.visible[state.at];
    const fitting = rows.map(fits);
    state.visible = fitting.flatMap((fit, index) => (fit ? [index] : []));
    cells.forEach((cell, index) => { cell.disabled = !fitting[index]; cell.classList.toggle("out", !fitting[index]); });
    state.at = Math.max(0, state.visible.indexOf(current));
    paint();
  };

  buildFilters();
  $("map").append(...cells);
  $("outcomes").addEventListener("change", (event) => { state.outcome = event.target.value; filter(); });
  $("by-class").addEventListener("change", (event) => { state.failure = event.target.value; filter(); });
  $("by-source").addEventListener("change", (event) => { state.source = event.target.value; filter(); });
  $("find").addEventListener("input", (event) => { state.find = event.target.value.trim().toLowerCase(); filter(); });
  $("marks").addEventListener("change", paint);
  $("prev").addEventListener("click", () => go(state.at - 1));
  $("next").addEventListener("click", () => go(state.at + 1));
  $("map").addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1 }[event.key];
    const place = event.key === "Home" ? 0 : event.key === "End" ? state.visible.length - 1 : step && state.at + step;
    if (place === undefined) return;
    event.preventDefault();
    go(place);
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("[type=search], select")) return;
    if (event.key === "j") go(state.at + 1);
    if (event.key === "k") go(state.at - 1);
  });
  /** Show a row that another part of the page names, whatever the filters say. */
  const open = (index) => {
    Object.assign(state, { outcome: "all", failure: "", source: "", find: "" });
    document.querySelector('#outcomes [value="all"]').checked = true;
    for (const id of ["by-class", "by-source", "find"]) $(id).value = "";
    filter();
    go(state.visible.indexOf(index));
    $("row").scrollIntoView({ block: "center" });
  };
  for (const button of document.querySelectorAll("[data-open]")) {
    const index = rows.findIndex((row) => row.id === button.dataset.open);
    button.disabled = index < 0;
    button.addEventListener("click", () => open(index));
  }
  $("browser").hidden = false;
  filter();
})();
