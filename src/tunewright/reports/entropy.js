"use strict";
/* The card beside a token: what the model knew there. Texts of rows and models reach the screen as text nodes only. */
(() => {
  const $ = (id) => document.getElementById(id);
  const { words, models, names } = JSON.parse($("page-data").textContent);
  const tokens = [...document.querySelectorAll(".heat i")];
  const place = new Map(tokens.map((token, index) => [token, index]));
  const card = $("card");
  const FORK = 1, MUCH = 0.5; // nats: what `n` and `p` stop at

  const element = (tag, css, ...children) => {
    const made = document.createElement(tag);
    if (css) made.className = css;
    made.append(...children);
    return made;
  };
  /** Characters that cannot be seen, or that turn the direction of text around, by their names. */
  const visible = (text) => text.replace(
    /[\u0000-\u001f\u007f-\u009f\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]/g,
    (char) => `⟨U+${char.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`,
  );
  const number = (value) => (value === 0 ? "0" : value < 1e-3 ? value.toExponential(1) : String(Number(value.toPrecision(3))));
  const percent = (p) => (p < 0.0005 ? "<0.1%" : p > 0.9995 ? ">99.9%" : `${(100 * p).toFixed(1)}%`);

  // ── what the card says ────────────────────────────────────────────────────────────────────────────────────────

  const alternatives = (top, own) => {
    const rows = element("div", "top");
    for (let at = 0; at < top.length; at += 2) {
      const bar = element("i");
      bar.style.width = `${100 * top[at + 1]}%`;
      const css = top[at] === own ? "this" : "";
      rows.append(element("code", css, visible(words[top[at]])), element("span", "track", bar), element("span", "p", percent(top[at + 1])));
    }
    return rows;
  };
  const view = ([own, , entropy, nll, rank, top], name) => {
    const made = element("div", "");
    if (name) made.append(element("p", "name", visible(name)));
    if (entropy === null) made.append(element("p", "", "The row begins here: nothing predicts it."));
    else {
      made.append(element("p", "", `entropy ${number(entropy)} nats`));
      const p = percent(Math.exp(-nll));
      made.append(element("p", "", `NLL ${number(nll)} nats: p ${/^[<>]/.test(p) ? p : `= ${p}`}, choice ${rank.toLocaleString("en")}`));
      made.append(alternatives(top, own));
    }
    return made;
  };
  const say = (index) => {
    const [own, role] = models[0][index];
    const both = models.map((model, at) => view(model[index], models.length > 1 ? `${"AB"[at]}: ${names[at]}` : ""));
    card.replaceChildren(
      element("p", "", element("code", "", visible(words[own])), " ", element("span", "who", words[role])),
      element("div", "models", ...both),
    );
  };

  // ── where it stands ───────────────────────────────────────────────────────────────────────────────────────────

  let current = null;
  const put = (token) => {
    if (getComputedStyle(card).position === "fixed") {
      card.style.left = card.style.top = "";
      return;
    }
    const box = token.getClientRects()[0] ?? token.getBoundingClientRect();
    const size = card.getBoundingClientRect();
    const left = Math.min(Math.max(8, box.left), document.documentElement.clientWidth - size.width - 8);
    const below = box.bottom + 8 + size.height <= window.innerHeight || box.top < size.height + 8;
    card.style.left = `${left + window.scrollX}px`;
    card.style.top = `${(below ? box.bottom + 8 : box.top - 8 - size.height) + window.scrollY}px`;
  };
  const show = (token) => {
    if (current) current.classList.remove("at");
    current = token;
    token.classList.add("at");
    say(place.get(token));
    card.hidden = false;
    put(token);
  };
  const hide = () => {
    if (current) current.classList.remove("at");
    current = null;
    card.hidden = true;
  };

  // ── pointer and keys ──────────────────────────────────────────────────────────────────────────────────────────

  const isShown = (token) => token.getClientRects().length > 0;
  const stops = (token) => {
    const found = models.map((model) => model[place.get(token)][2] ?? 0);
    return found.length > 1 ? Math.abs(found[1] - found[0]) >= MUCH : found[0] >= FORK;
  };
  /** The next token in `direction` from `from` that fits, among those of the same text. */
  const next = (text, from, direction, fits) => {
    const own = [...text.querySelectorAll("i")];
    let at = from ? own.indexOf(from) + direction : direction > 0 ? 0 : own.length - 1;
    while (own[at] && !(isShown(own[at]) && fits(own[at]))) at += direction;
    return own[at];
  };
  const go = (token) => {
    if (!token) return;
    token.tabIndex = -1;
    token.setAttribute("aria-describedby", "card");
    token.focus({ preventScroll: true });
    token.scrollIntoView({ block: "nearest" });
    show(token);
  };
  const any = () => true;
  const MOVES = {
    ArrowRight: [1, any], ArrowDown: [1, any], ArrowLeft: [-1, any], ArrowUp: [-1, any], n: [1, stops], p: [-1, stops],
  };
  for (const text of document.querySelectorAll(".heat")) {
    text.addEventListener("pointerover", (event) => { if (place.has(event.target)) show(event.target); });
    text.addEventListener("pointerleave", () => { if (!text.contains(document.activeElement)) hide(); });
    text.addEventListener("click", (event) => { if (place.has(event.target)) go(event.target); });
    text.addEventListener("focusout", (event) => { if (!text.contains(event.relatedTarget)) hide(); });
    text.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const from = place.has(document.activeElement) ? document.activeElement : null;
      if (event.key === "Escape") { hide(); text.focus(); return; }
      const [direction, fits] = MOVES[event.key] ?? [];
      const token = event.key === "Home" ? next(text, null, 1, any) : event.key === "End" ? next(text, null, -1, any)
        : direction && next(text, from, direction, fits);
      if (!token) return;
      event.preventDefault();
      go(token);
    });
  }
  $("controls").addEventListener("change", hide);
  document.addEventListener("pointerdown", (event) => { if (!event.target.closest(".heat")) hide(); });
})();
