export type Theme = "light" | "dark";

const STORED = "console.theme";

export const themeNow = (): Theme => {
  const stored = localStorage.getItem(STORED);
  if (stored === "light" || stored === "dark") return stored;
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
};

export const applyTheme = (): void => {
  document.documentElement.dataset["theme"] = themeNow();
};

export const chooseTheme = (theme: Theme): void => {
  localStorage.setItem(STORED, theme);
  applyTheme();
};
