// What the console does beyond showing: it renews the page, asks the run for changes, and listens
// to keys. Pages are whole without it.
"use strict";
(() => {
  const EVERY = 2000;
  const $ = (id) => document.getElementById(id);
  const main = () => $("main");
  const pulse = $("pulse");

  // Light or dark: as the system has it, unless somebody chose.
  const root = document.documentElement;
  const chosen = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
  const isDark = () => {
    const theme = root.dataset.theme;
    return theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  };
  if (chosen()) root.dataset.theme = chosen();
  $("theme").hidden = $("keys").hidden = false;
  $("theme").addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("theme", root.dataset.theme); } catch { /* it lasts for this page */ }
  });
  $("keys").addEventListener("click", () => $("help").showModal());

  // Says something for a while.
  let quiet = 0;
  function say(text, isBad) {
    const toast = $("toast");
    toast.textContent = text;
    toast.className = isBad ? "bad" : "";
    clearTimeout(quiet);
    quiet = setTimeout(() => { toast.textContent = ""; }, isBad ? 12000 : 5000);
  }

  // What a fresh page has to be given.
  let row = -1;
  function dress() {
    for (const button of main().querySelectorAll("button[data-to]")) button.disabled = false;
    for (const button of main().querySelectorAll("button.copy")) button.hidden = false;
    for (const time of main().querySelectorAll("time")) {
      const ago = since(new Date(time.dateTime));
      if (ago) time.textContent = ago;
    }
    mark();
  }
  function since(time) {
    const seconds = Math.round((Date.now() - time) / 1000);
    if (!Number.isFinite(seconds) || seconds < 0 || seconds > 86400) return "";
    if (seconds < 60) return `${seconds} s ago`;
    if (seconds < 7200) return `${Math.round(seconds / 60)} min ago`;
    return `${Math.round(seconds / 3600)} h ago`;
  }

  // Renews the page, unless somebody is at work in it.
  const opened = () => [...main().querySelectorAll("details")].map((it) => it.open);
  const isBusy = () =>
    document.querySelector("dialog[open]") ||
    (main().contains(document.activeElement) && document.activeElement.matches("input,select,textarea")) ||
    !getSelection().isCollapsed;
  let renewing = false;
  async function renew(now) {
    if (renewing || document.hidden || (!now && isBusy()) || main().querySelector("[data-still]")) return;
    renewing = true;
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" }, redirect: "manual" });
      if (answer.type === "opaqueredirect") { location.reload(); return; }
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      const next = fresh.getElementById("main");
      if (next && !(isBusy() && !now)) {
        const focus = main().contains(document.activeElement) && document.activeElement.dataset.to;
        const open = opened();
        const scrolled = [...main().querySelectorAll(".scroll")].map((it) => it.scrollLeft);
        main().replaceChildren(...next.childNodes);
        main().querySelectorAll("details").forEach((it, at) => { it.open = open[at] || it.open; });
        main().querySelectorAll(".scroll").forEach((it, at) => { it.scrollLeft = scrolled[at] || 0; });
        dress();
        if (focus) main().querySelector(`button[data-to="${CSS.escape(focus)}"]`)?.focus();
      }
      pulse.className = "pulse live";
      pulse.textContent = "live";
    } catch {
      pulse.className = "pulse lost";
      pulse.textContent = "no answer";
    } finally {
      renewing = false;
    }
  }

  // Asks the run for a change, after the person has seen what that is by command.
  function ask(button) {
    const dialog = $("ask");
    const wantsReason = button.dataset.reason !== undefined;
    $("ask-title").textContent = `${button.textContent}?`;
    $("ask-text").textContent = "";
    $("ask-twin").textContent = button.dataset.twin;
    $("ask-reason-label").hidden = !wantsReason;
    $("ask-reason").required = wantsReason;
    $("ask-reason").value = "";
    dialog.returnValue = "no";
    dialog.addEventListener("close", async () => {
      if (dialog.returnValue !== "yes") return;
      const body = JSON.parse(button.dataset.body);
      if (wantsReason) body.reason = $("ask-reason").value;
      await act(button.dataset.to, body, button.textContent);
    }, { once: true });
    dialog.showModal();
    (wantsReason ? $("ask-reason") : dialog.querySelector("button.go")).focus();
  }
  async function act(to, body, label) {
    try {
      const answer = await fetch(to, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(body),
      });
      const told = await answer.json();
      if (!answer.ok) say(`${label}: ${told.error}`, true);
      else if (told.state === "done") say(`${label}: done${outcome(told.outcome)}`);
      else say(`${label}: under way (request ${told.request})`);
    } catch {
      say(`${label}: no answer; look before you try again`, true);
    }
    renew(true);
  }
  function outcome(told) {
    const parts = [];
    if (told?.begun) parts.push(`${told.begun} on their way`);
    if (told?.refused) parts.push(`${told.refused} are older than what the sink has`);
    if (told?.discarded) parts.push(`${told.discarded} discarded`);
    return parts.length ? `: ${parts.join(", ")}` : "";
  }

  // A form whose answer is a part of the page: it is asked for behind the page, which stays.
  document.addEventListener("submit", async (event) => {
    const form = event.target.closest("form[data-answer]");
    if (!form) return;
    event.preventDefault();
    const button = form.querySelector("button[type=submit]");
    button.disabled = true;
    try {
      const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)) });
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      const next = fresh.getElementById(form.dataset.answer);
      if (next) {
        $(form.dataset.answer).replaceChildren(...next.childNodes);
        dress();
        $(form.dataset.answer).scrollIntoView({ block: "nearest" });
      } else {
        say(`no answer: ${answer.status} ${answer.statusText}`, true);
      }
    } catch {
      say("no answer", true);
    } finally {
      button.disabled = false;
    }
  });

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.dataset.to) return ask(button);
    if (button?.classList.contains("copy")) {
      navigator.clipboard?.writeText(button.previousElementSibling.textContent)
        .then(() => say("copied"), () => say("it can't be copied here", true));
      return;
    }
    const line = event.target.closest("tr[data-href]");
    if (line && !event.target.closest("a,button,details") && getSelection().isCollapsed) {
      location.href = line.dataset.href;
    }
  });

  // The figure under the pointer.
  const words = {
    Rate: (v) => `${v < 100 ? v.toFixed(1) : Math.round(v)}/s`,
    Count: (v) => Math.round(v).toLocaleString("en"),
    Seconds: (v) => (v < 1 ? `${Math.round(v * 1000)} ms` : v < 120 ? `${v.toFixed(1)} s` : `${Math.round(v / 60)} min`),
    Bytes: (v) => {
      const unit = ["B", "KiB", "MiB", "GiB", "TiB"];
      let at = 0;
      while (v >= 1024 && at < 4) { v /= 1024; at += 1; }
      return `${v.toFixed(at ? 1 : 0)} ${unit[at]}`;
    },
  };
  document.addEventListener("pointermove", (event) => {
    const svg = event.target.closest?.(".chart svg");
    document.querySelectorAll(".tip").forEach((tip) => tip.remove());
    if (!svg) return;
    const chart = svg.closest(".chart");
    const box = svg.getBoundingClientRect();
    const part = (event.clientX - box.left) / box.width;
    const { start, end, top, unit } = chart.dataset;
    const time = Number(start) + part * (Number(end) - Number(start));
    const value = (1 - (event.clientY - box.top) / box.height) * Number(top);
    const tip = document.createElement("span");
    tip.className = "tip";
    tip.textContent = `${new Date(time * 1000).toLocaleTimeString()} · ${words[unit](Math.max(0, value))}`;
    const inside = chart.getBoundingClientRect();
    tip.style.left = `${Math.min(event.clientX - inside.left + 12, inside.width - 140)}px`;
    tip.style.top = `${event.clientY - inside.top - 26}px`;
    chart.append(tip);
  });

  // Keys.
  let isGoing = false;
  const rows = () => [...main().querySelectorAll("tr[data-href]")];
  function mark() {
    rows().forEach((it, at) => it.classList.toggle("here", at === row));
  }
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches("input,select,textarea") || document.querySelector("dialog[open]")) return;
    if (isGoing) {
      isGoing = false;
      const link = document.querySelector(`nav a[data-key="${CSS.escape(event.key)}"]`);
      if (link) { event.preventDefault(); link.click(); }
      return;
    }
    switch (event.key) {
      case "g": isGoing = true; setTimeout(() => { isGoing = false; }, 1500); break;
      case "/": {
        const field = main().querySelector("input,select");
        if (field) { event.preventDefault(); field.focus(); }
        break;
      }
      case "j": case "k":
        row = Math.max(0, Math.min(rows().length - 1, row + (event.key === "j" ? 1 : -1)));
        mark();
        rows()[row]?.scrollIntoView({ block: "nearest" });
        break;
      case "Enter": if (row >= 0 && rows()[row] && event.target === document.body) location.href = rows()[row].dataset.href; break;
      case "r": renew(true); break;
      case "?": $("help").showModal(); break;
      default:
    }
  });

  dress();
  setInterval(() => renew(false), EVERY);
  document.addEventListener("visibilitychange", () => renew(false));
})();
