// Elements in few words.

export const $ = (id) => document.getElementById(id);

/** An element: its properties and attributes, then what is inside. */
export function h(tag, properties = {}, ...inside) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...inside.filter(Boolean));
  return element;
}

/** Says something to people in an element. */
export function tell(element, words, bad = false) {
  element.textContent = words;
  element.classList.toggle("bad", bad);
}

export const pause = (ms) => new Promise((resume) => setTimeout(resume, ms));

/** Whether keys typed now are text for somebody. */
export const typing = (target) => target.matches?.("input:not([type=checkbox], [type=range]), select, textarea");

/** Whether a key means nothing, since letters were switched off. */
export const off = ({ key }) => !$("keys").checked && /^\S$/.test(key);

const urls = new Map(), address = (bytes) => URL.createObjectURL(new Blob([bytes], { type: "image/png" }));
/** An address of an entry's picture, the same each time. */
export function urlOf({ key, bytes }) {
  if (!urls.has(key)) urls.set(key, address(bytes));
  return urls.get(key);
}

export function save(bytes, name) {
  const link = h("a", { href: address(bytes), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

export const fromBase64 = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
export const toBase64 = (bytes) => btoa(bytes.reduce((text, byte) => text + String.fromCharCode(byte), ""));
export const plural = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;
