// Elements in few words.

export const $ = (id) => document.getElementById(id);

/** An element: properties (`class`, `aria-...`, `data-...` and handlers among them), then what is inside. */
export function h(tag, properties = {}, ...inside) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element && !/^(class|list)$/.test(name)) element[name] = value;
    else if (value !== null && value !== false) element.setAttribute(name, value);
  }
  element.append(...inside.filter((one) => one !== null && one !== undefined));
  return element;
}

export const pause = (ms) => new Promise((resume) => setTimeout(resume, ms));

/** Whether keys typed now are text for somebody. */
export const typing = (target) => target.matches?.("input:not([type=checkbox]):not([type=range]), select, textarea");

export function save(bytes, name, type = "image/png") {
  const link = h("a", { href: URL.createObjectURL(new Blob([bytes], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Copies a text, where pages may not by the older way. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const field = h("textarea", { value: text, class: "away" });
    (document.querySelector("dialog[open]") ?? document.body).append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
}

export const fromBase64 = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
export const plural = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;
