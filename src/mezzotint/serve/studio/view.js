// One picture, large: its settings, A against B, and what can be done with it.

import { BASE } from "./api.js";
import { $, copy, h, save } from "./dom.js";
import { desk } from "./form.js";
import { remove, star } from "./history.js";
import { commandLine, curl, line, python, table } from "./words.js";

let entries = [], at = 0, a = null; // a: the entry that is marked as A
let urls = [];

const url = (entry) => {
  const made = URL.createObjectURL(new Blob([entry.bytes], { type: "image/png" }));
  urls.push(made);
  return made;
};
const tell = (name, detail) => dispatchEvent(new CustomEvent(name, { detail }));
const nameOf = ({ settings, key }) => (settings ? `${settings.model}-${settings.seed}.png` : `${key.replace(/\W/g, "-")}.png`);

/** Opens the picture entries[i]; arrows go to the others. */
export function look(list, i) {
  [entries, at] = [list, i];
  draw();
  if (!$("picture").open) $("picture").showModal();
}

function texts({ settings }) {
  const secret = sessionStorage.getItem("token") !== null;
  return { "Command line": commandLine(settings, desk.samplers), curl: curl(settings, BASE, secret), Python: python(settings) };
}

function draw() {
  const dialog = $("picture"), entry = entries[at], { settings } = entry;
  urls.forEach(URL.revokeObjectURL);
  urls = [];
  const button = (text, act, key, more = {}) => h("button", { type: "button", textContent: text, onclick: act, title: key ? `key ${key}` : "", ...more });
  const image = h("img", { class: "large", src: url(entry), alt: settings ? line(settings) : "picture" });
  const mark = h("span", { class: "mark", hidden: true });
  const hold = button("Hold to look at A", null, "Space", { id: "hold", hidden: a === null || a === entry });
  hold.onpointerdown = () => flip(true);
  hold.onpointerup = hold.onpointerleave = () => flip(false);
  const one = a && a !== entry ? h("img", { class: "large", src: url(a), alt: `A: ${a.settings ? line(a.settings) : "picture"}`, hidden: true, id: "a" }) : null;
  const acts = [
    settings ? button("Use its settings", act.u, "U", { class: "main" }) : null,
    button(entry.star ? "★ Starred" : "☆ Star", act.s, "S", { "aria-pressed": String(Boolean(entry.star)) }),
    button("Download", act.d, "D"),
    button(a === entry ? "This is A" : "Mark as A", act.a, "A", { "aria-pressed": String(a === entry) }),
    hold,
    button("Edit it", act.e, "E"),
    button("Delete", act.Delete, "Delete"),
  ];
  const place = h("pre", { tabIndex: 0, hidden: true });
  const said = h("span", { role: "status", class: "soft" });
  const copies = !settings ? [] : Object.entries(texts(entry)).map(([name, text]) =>
    button(name, () => {
      place.textContent = text;
      place.hidden = false;
      copy(text).then(() => (said.textContent = "Copied."));
    }));
  dialog.replaceChildren(
    h("div", { class: "row between" },
      h("span", { class: "row" },
        button("←", act.ArrowLeft, "←", { "aria-label": "previous picture", disabled: at === 0 }),
        h("span", { textContent: `${at + 1} of ${entries.length}` }),
        button("→", act.ArrowRight, "→", { "aria-label": "next picture", disabled: at === entries.length - 1 })),
      button("Close", () => dialog.close(), "Esc")),
    h("div", { class: "look" },
      h("div", { class: "shown" }, image, one, mark),
      h("div", {},
        h("div", { class: "row" }, ...acts.filter(Boolean)),
        settings ? h("dl", {}, ...table(settings).flatMap(([name, value]) => [h("dt", { textContent: name }), h("dd", { textContent: value })]))
          : h("p", { textContent: "This picture says nothing of how it was made." }),
        copies.length ? h("div", { class: "row" }, h("span", { textContent: "Copy as" }), ...copies, said) : null,
        place)),
  );
  image.id = "b";
}

/** Shows A in the place of the picture, or the picture again. */
function flip(toA) {
  if (!$("a")) return;
  $("a").hidden = !toA;
  $("b").hidden = toA;
  const mark = $("picture").querySelector(".mark");
  mark.hidden = false;
  mark.textContent = toA ? "A" : "B";
}

/** What keys and buttons do. */
const act = {
  ArrowLeft: () => at > 0 && (at--, draw()),
  ArrowRight: () => at < entries.length - 1 && (at++, draw()),
  a: () => {
    a = entries[at];
    draw();
  },
  s: async () => {
    await star(entries[at]);
    draw();
  },
  d: () => save(entries[at].bytes, nameOf(entries[at])),
  u: () => {
    $("picture").close();
    tell("use", entries[at]);
  },
  e: () => {
    $("picture").close();
    tell("edit", entries[at]);
  },
  Delete: async () => {
    const gone = entries[at];
    await remove([gone]);
    entries = entries.filter((entry) => entry !== gone);
    at = Math.min(at, entries.length - 1);
    if (entries.length) draw();
    else $("picture").close();
  },
};

export function keys() {
  const dialog = $("picture");
  dialog.onkeydown = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const onButton = event.target.matches("button") && event.target.id !== "hold";
    if (key === " " && !onButton) flip(true);
    else if (act[key] && !(key === "u" && !entries[at].settings)) {
      act[key]();
      dialog.focus();
    } else return;
    event.preventDefault();
  };
  dialog.onkeyup = (event) => event.key === " " && flip(false);
  dialog.onclick = (event) => event.target === dialog && dialog.close();
  dialog.onclose = () => urls.forEach(URL.revokeObjectURL);
}
