// What HTML alone cannot do: the theme, copying, values that hide themselves again, and questions before what cannot be undone.
// Nothing here sees a secret but what the page shows at that moment, and nothing is stored but the name of the theme.
"use strict";

(() => {
  const root = document.documentElement;
  const themes = ["system", "light", "dark"];

  function theme() {
    try { return localStorage.getItem("overseer-theme") || "system"; } catch { return "system"; }
  }
  function show(name) {
    if (name === "system") delete root.dataset.theme; else root.dataset.theme = name;
    for (const button of document.querySelectorAll("[data-theme-button]")) button.textContent = `Theme: ${name}`;
  }
  show(theme());

  // A value that was revealed goes from the page after its time, also where the tab is left open.
  const SECONDS = 30;
  const timers = new WeakMap();
  function watch(scope) {
    for (const box of scope.querySelectorAll("[data-hides]")) {
      if (timers.has(box)) continue;
      let left = Number(box.dataset.hides) || SECONDS;
      const clock = box.querySelector("[data-clock]");
      const timer = setInterval(() => {
        left -= 1;
        if (clock) clock.textContent = `hidden again in ${left} s`;
        if (left <= 0) hide(box);
      }, 1000);
      timers.set(box, timer);
    }
  }
  function hide(box) {
    clearInterval(timers.get(box));
    for (const part of box.querySelectorAll("[data-secret]")) part.textContent = "";
    const again = box.querySelector("template[data-after]");
    if (again) box.replaceChildren(again.content.cloneNode(true)); else box.remove();
    if (window.htmx) window.htmx.process(document.body);
  }

  async function copy(button) {
    const source = document.getElementById(button.dataset.copy);
    const before = button.textContent;
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(source);
      button.textContent = "Press Ctrl+C";
    }
    setTimeout(() => { button.textContent = before; }, 2000);
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.copy) copy(button);
    if ("hide" in button.dataset) hide(button.closest("[data-hides]"));
    if ("themeButton" in button.dataset) {
      const next = themes[(themes.indexOf(theme()) + 1) % themes.length];
      try { localStorage.setItem("overseer-theme", next); } catch { /* a browser that keeps nothing */ }
      show(next);
    }
  });

  // A form that cannot be undone asks once more; [data-ask] holds the question.
  document.addEventListener("submit", (event) => {
    const question = event.submitter?.dataset.ask || event.target.dataset.ask;
    if (question && !window.confirm(question)) event.preventDefault();
  });

  // What one choice of a form shows: <select data-shows> or radio buttons, and [data-when="name=value"] elsewhere in the form.
  function choose(form) {
    for (const part of form.querySelectorAll("[data-when]")) {
      const [name, value] = part.dataset.when.split("=");
      const wanted = value.split("|");
      const chosen = new FormData(form).get(name);
      part.hidden = !wanted.includes(chosen);
      for (const field of part.querySelectorAll("input, textarea, select")) field.disabled = part.hidden;
    }
  }
  // A file that was chosen goes into a field of the form, as text; the field is what is sent.
  async function read(input) {
    const file = input.files[0];
    if (!file) return;
    document.getElementById(input.dataset.reads).value = await file.text();
    document.getElementById(input.dataset.names).value = file.name;
    const kinds = [[/^(docker-)?compose\.ya?ml$/, "compose"], [/\.ya?ml$/, "yaml"], [/\.json$/, "json"], [/\.env(\.|$)|^\.env/, "dotenv"]];
    const kind = kinds.find(([pattern]) => pattern.test(file.name));
    if (kind) document.getElementById(input.dataset.formats).value = kind[1];
  }
  document.addEventListener("change", (event) => {
    if (event.target.dataset.reads) read(event.target);
    const form = event.target.form;
    if (form && form.querySelector("[data-when]")) choose(form);
  });

  function ready(scope) {
    watch(scope);
    show(theme());
    for (const form of scope.querySelectorAll("form")) choose(form);
    for (const part of scope.querySelectorAll("[data-scripted]")) part.hidden = false;
  }
  document.addEventListener("DOMContentLoaded", () => ready(document));
  document.addEventListener("htmx:load", (event) => ready(event.target.parentElement || document));
  window.addEventListener("pagehide", () => {
    for (const box of document.querySelectorAll("[data-hides]")) hide(box);
  });
})();
