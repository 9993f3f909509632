import { createContext, type ReactNode, useContext, useEffect, useMemo, useState } from "react";

import { type Language, languageOf, type Translate, translator } from "./catalogue.ts";

const STORED = "console.language";

const Translation = createContext<Translate>(translator("en"));
const Choose = createContext<(language: Language) => void>(() => undefined);

export const useT = (): Translate => useContext(Translation);
export const useChooseLanguage = (): ((language: Language) => void) => useContext(Choose);

const first = (): Language => {
  const stored = localStorage.getItem(STORED);
  return stored === "en" || stored === "ja" ? stored : languageOf(navigator.languages);
};

export const Languages = ({ children }: { children: ReactNode }) => {
  const [language, setLanguage] = useState(first);
  const t = useMemo(() => translator(language), [language]);
  useEffect(() => {
    document.documentElement.lang = language;
  }, [language]);
  const choose = (chosen: Language) => {
    localStorage.setItem(STORED, chosen);
    setLanguage(chosen);
  };
  return (
    <Choose value={choose}>
      <Translation value={t}>{children}</Translation>
    </Choose>
  );
};
