// Chooses light or dark before anything is painted, and lets a button change it; the choice is remembered.
// A classic script in the head on purpose: a module would run after the first paint.
(() => {
  const KEY = "leaderboard.theme";
  const root = document.documentElement;
  const systemIsDark = matchMedia("(prefers-color-scheme: dark)");

  const systemTheme = () => (systemIsDark.matches ? "dark" : "light");
  const current = () => root.dataset.theme || systemTheme();

  function remembered() {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null; // storage is switched off: the system's theme it is
    }
  }

  function choose(theme) {
    // Back on the system's theme, the page follows it again.
    const own = theme !== systemTheme();
    if (own) root.dataset.theme = theme;
    else delete root.dataset.theme;
    try {
      if (own) localStorage.setItem(KEY, theme);
      else localStorage.removeItem(KEY);
    } catch {
      // Storage is switched off: the choice lasts until the page is left.
    }
    show();
  }

  const show = () => document.getElementById("theme")?.setAttribute("aria-pressed", String(current() === "dark"));

  const chosen = remembered();
  if (chosen === "dark" || chosen === "light") root.dataset.theme = chosen;
  systemIsDark.addEventListener("change", show);

  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    button.hidden = false;
    button.addEventListener("click", () => choose(current() === "dark" ? "light" : "dark"));
    show();
  });
})();
