// One picture, large: its settings, A against B, and what can be done with it.

import { read } from "./api.js";
import { $, h, off, save, urlOf } from "./dom.js";
import { remove, star } from "./history.js";
import { named, table } from "./words.js";

let entries = [], at = 0, a = null; // a: the entry that is marked as A

/** Opens the picture list[i]; arrows go to the others. */
export function look(list, i) {
  [entries, at] = [list, i];
  draw();
  if (!$("picture").open) $("picture").showModal();
  $("picture").focus();
}

function draw() {
  const dialog = $("picture"), entry = entries[at], { settings } = entry, other = a && a.key !== entry.key;
  const button = (text, onclick, key, more) => h("button", { textContent: text, onclick, title: key ?? "", ...more });
  const hold = button("Hold to show A", null, "Space", { id: "hold", hidden: !other });
  hold.onpointerdown = () => flip(true);
  hold.onpointerup = hold.onpointerleave = () => flip(false);
  const place = h("pre", { tabIndex: 0, hidden: true }), said = h("span", { role: "status", className: "soft" });
  const put = async (kind) => {
    try {
      place.textContent = (await read("v1/commands", { body: { settings } }))[kind] ?? "There is no command for these settings.";
      await navigator.clipboard?.writeText(place.textContent); // pages of plain HTTP from other machines may not
      said.textContent = navigator.clipboard ? "Copied." : "";
    } catch (error) {
      place.textContent = error.message;
    }
    place.hidden = false;
  };
  dialog.replaceChildren(
    h("div", { className: "row between" },
      h("span", { className: "row" },
        button("←", act.ArrowLeft, "←", { ariaLabel: "previous picture", disabled: at === 0 }),
        h("span", { textContent: `${at + 1} of ${entries.length}` }),
        button("→", act.ArrowRight, "→", { ariaLabel: "next picture", disabled: at === entries.length - 1 })),
      button("Close", () => dialog.close(), "Esc")),
    h("div", { className: "look" },
      h("div", { className: "shown" }, h("img", { id: "b", className: "large", src: urlOf(entry), alt: named(entry) }),
        other && h("img", { id: "a", className: "large", src: urlOf(a), alt: `A: ${named(a)}`, hidden: true }),
        h("span", { className: "mark", hidden: true })),
      h("div", {},
        h("div", { className: "row" },
          settings && button("Use its settings", act.u, "U", { className: "main" }),
          button(entry.star ? "★ Starred" : "☆ Star", act.s, "S"),
          button("Download", act.d, "D"), button(other || !a ? "Mark as A" : "This is A", act.a, "A"), hold,
          button("Edit it", act.e, "E"), button("Delete", act.Delete)),
        settings ? h("dl", {}, ...table(settings).flatMap(([name, value]) => [h("dt", { textContent: name }), h("dd", { textContent: value })]))
          : h("p", { textContent: "This picture contains no settings." }),
        settings && h("div", { className: "row" }, "Copy as", button("Command line", () => put("command")), button("curl", () => put("curl")), button("Python", () => put("python")), said),
        place)));
}

/** Shows A in the place of the picture, or the picture again. */
function flip(toA) {
  const mark = $("picture").querySelector(".mark");
  if (!$("a")) return;
  $("a").hidden = !toA;
  $("b").hidden = toA;
  mark.hidden = false;
  mark.textContent = toA ? "A" : "B";
}

function leave(event) {
  $("picture").close();
  dispatchEvent(new CustomEvent(event, { detail: entries[at] }));
}

function turn(by) {
  if (!entries[at + by]) return;
  at += by;
  draw();
}

/** What keys and buttons do. */
const act = {
  ArrowLeft: () => turn(-1),
  ArrowRight: () => turn(1),
  a: () => ((a = entries[at]), draw()),
  s: () => star(entries[at]).then(draw),
  d: () => save(entries[at].bytes, `${entries[at].settings?.model ?? "picture"}-${entries[at].settings?.seed ?? at}.png`),
  u: () => entries[at].settings && leave("use"),
  e: () => leave("edit"),
  Delete: async () => {
    await remove([entries[at]]);
    entries = entries.filter((_, i) => i !== at);
    at = Math.min(at, entries.length - 1);
    if (entries.length) draw();
    else $("picture").close();
  },
};

export function build() {
  const dialog = $("picture");
  dialog.onkeydown = (event) => {
    if (off(event) || event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (key === " " && (event.target === dialog || event.target.id === "hold")) flip(true);
    else if (act[key]) {
      act[key]();
      dialog.focus();
    } else return;
    event.preventDefault();
  };
  dialog.onkeyup = (event) => event.key === " " && flip(false);
  dialog.onclick = (event) => event.target === dialog && dialog.close();
}
