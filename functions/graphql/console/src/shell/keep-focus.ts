/** What may take the focus of an element in it that is gone: near enough to go on from there with the keyboard. */
const PLACES = "li, tr, section, form, dialog[open], [role=region], main";

const focus = (place: Element | null | undefined): void => {
  if (!(place instanceof HTMLElement)) return;
  if (place.tabIndex < 0) place.tabIndex = -1;
  place.focus({ preventScroll: true });
};

const isLost = (): boolean => document.activeElement === null || document.activeElement === document.body;

/**
 * Keep the focus when its element disappears, as a button does that has done its work: without this it is lost to the
 * body, and a person with a keyboard or a screen reader begins again at the top. It goes to the nearest place around it
 * that is still there; after a dialog that has nothing to return it to, to the page's content.
 */
export const keepFocus = (): void => {
  let around: Element[] = [];
  document.addEventListener("focusin", ({ target }) => {
    around = [];
    for (let one = target instanceof Element ? target : null; one; one = one.parentElement) around.push(one);
  });
  document.addEventListener("pointerdown", () => {
    around = [];
  });
  new MutationObserver(() => {
    if (!isLost() || !around[0] || around[0].isConnected) return;
    focus(around.find((one) => one.isConnected && one.matches(PLACES)) ?? document.getElementById("main"));
  }).observe(document.body, { childList: true, subtree: true });
  document.addEventListener(
    "close",
    () => {
      if (isLost()) focus(document.getElementById("main"));
    },
    { capture: true },
  );
};
