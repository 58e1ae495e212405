type Child = Node | string | number | null | false;

/**
 * An element. Texts become text nodes and values become attributes: there is no way through here for
 * a text to become HTML, nor for an attribute to become a script.
 */
export function h<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  attributes: Readonly<Record<string, string | number | boolean>> = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[Name] {
  return filled(document.createElement(name), attributes, children);
}

/** An element of SVG. */
export function svg(
  name: string,
  attributes: Readonly<Record<string, string | number | boolean>> = {},
  ...children: readonly Child[]
): SVGElement {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

/** An element that the page has from the beginning. */
export function part(id: string): HTMLElement {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`the page has no #${id}`);
  return element;
}

function filled<E extends Element>(
  element: E,
  attributes: Readonly<Record<string, string | number | boolean>>,
  children: readonly Child[],
): E {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) throw new Error(`${name} is for addEventListener`);
    if (value !== false) element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children) {
    if (child !== null && child !== false) {
      element.append(typeof child === "number" ? String(child) : child);
    }
  }
  return element;
}
