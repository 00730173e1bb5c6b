// The page works without this: it renews what is shown, and shows logs.

const RENEW_EVERY = 5000;
const MOST_LINES = 20000;
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;
const ERROR = /\b(error|exception|traceback|fatal|critical)\b/i;

// What would not show, or would turn the order of what follows, is named.
const visible = (text) =>
  text.replace(HIDDEN, (c) => `[U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}]`);

// Browsers fetch nothing from an address with a user and password in it, which the address of a page may have.
const here = (address) => new URL(address, location.origin).href;

const log = document.getElementById("log");
if (log) showLog(log);
else setInterval(renew, RENEW_EVERY);

// Only what changed is exchanged, and never under somebody's hands.
async function renew() {
  const main = document.getElementById("content");
  const busy = main.contains(document.activeElement) || !getSelection().isCollapsed;
  if (document.hidden || busy || main.querySelector("form[method=post]")) return;
  try {
    const answer = await fetch(here(location.pathname + location.search), { headers: { accept: "text/html" } });
    if (!answer.ok) return;
    const next = new DOMParser().parseFromString(await answer.text(), "text/html");
    const scrolled = [...main.querySelectorAll(".scroll")].map((one) => one.scrollLeft);
    main.replaceChildren(...next.getElementById("content").childNodes);
    main.querySelectorAll(".scroll").forEach((one, n) => { one.scrollLeft = scrolled[n] ?? 0; });
    document.querySelector("footer").replaceChildren(...next.querySelector("footer").childNodes);
  } catch {
    // The next round tries again.
  }
}

function showLog(log) {
  const status = document.getElementById("log-status");
  const search = document.getElementById("log-search");
  const tail = document.getElementById("log-tail");
  let rest = "";

  const mark = (line) => {
    const wanted = search.value.toLowerCase();
    line.className = ERROR.test(line.textContent) ? "error" : "";
    if (wanted && line.textContent.toLowerCase().includes(wanted)) line.className += " hit";
  };
  const add = (text) => {
    const lines = (rest + text.replaceAll("\r\n", "\n")).split("\n");
    rest = lines.pop();
    const piece = document.createDocumentFragment();
    for (const words of lines) {
      const line = document.createElement("span");
      line.textContent = `${visible(words)}\n`;
      mark(line);
      piece.append(line);
    }
    log.append(piece);
    while (log.childElementCount > MOST_LINES) log.firstElementChild.remove();
    if (tail.checked) log.scrollTop = log.scrollHeight;
  };
  const end = (words) => {
    if (rest) add("\n");
    status.textContent = words;
  };

  search.addEventListener("input", () => {
    for (const line of log.children) mark(line);
    const hits = log.querySelectorAll(".hit");
    status.textContent = search.value ? `${hits.length} lines` : "";
    if (hits.length) hits[0].scrollIntoView({ block: "nearest" });
  });
  document.getElementById("log-error").addEventListener("click", () => {
    const first = log.querySelector(".error");
    tail.checked = false;
    if (first) first.scrollIntoView({ block: "center" });
    else status.textContent = "No line of it looks like an error.";
  });

  if (log.dataset.follow) {
    status.textContent = "Following the log.";
    const events = new EventSource(here(log.dataset.follow));
    events.addEventListener("log", (event) => add(JSON.parse(event.data).text));
    events.addEventListener("warning", (event) => { status.textContent = visible(JSON.parse(event.data).message); });
    events.addEventListener("end", () => {
      events.close();
      end("The run has ended; load the page again to see how.");
    });
    return;
  }
  fetch(here(log.dataset.log)).then(async (answer) => {
    if (!answer.ok) {
      const problem = await answer.json().catch(() => ({}));
      return end(visible(problem.detail ?? "The log cannot be read."));
    }
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) add(piece.value);
    end("");
  }).catch(() => end("The log broke off."));
}
