import { h } from "./dom.ts";

/** Two buttons that leaf through something, and behind them where one is. */
export interface Pager {
  element: HTMLElement;
  /** Says where one is, and whether there is something before it and after it. */
  show(place: string, has: { before: boolean; after: boolean }): void;
}

/**
 * @param place says where one is
 * @param leaf is called with the direction
 */
export function pager(place: HTMLElement, leaf: (by: 1 | -1) => void): Pager {
  const back = h("button", { type: "button" }, "Previous");
  const on = h("button", { type: "button" }, "Next");
  back.addEventListener("click", () => {
    leaf(-1);
  });
  on.addEventListener("click", () => {
    leaf(1);
  });
  return {
    element: h("p", { class: "pages" }, back, on, place),
    show(text, { before, after }) {
      place.textContent = text;
      back.disabled = !before;
      on.disabled = !after;
    },
  };
}
