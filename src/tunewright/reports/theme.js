"use strict";
/* The button that chooses light or dark, the same on every page. */
(() => {
  const button = document.getElementById("theme");
  const THEMES = { auto: "as the system", light: "light", dark: "dark" };
  const remembered = (value) => {
    try { // a browser may forbid storage to a page that was opened from a file
      if (value) localStorage.setItem("tunewright-theme", value);
      return localStorage.getItem("tunewright-theme");
    } catch { return null; }
  };
  const setTheme = (name) => {
    if (name === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = name;
    button.textContent = `Theme: ${THEMES[name]}`;
    button.dataset.name = name;
  };
  setTheme(remembered() in THEMES ? remembered() : "auto");
  button.hidden = false;
  button.addEventListener("click", () => {
    const names = Object.keys(THEMES);
    const name = names[(names.indexOf(button.dataset.name) + 1) % names.length];
    setTheme(name);
    remembered(name);
  });
})();
