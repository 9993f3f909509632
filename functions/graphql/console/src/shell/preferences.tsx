import { useState } from "react";

import { useChooseLanguage, useT } from "../i18n/index.tsx";
import { Button } from "../ui/button.tsx";
import { chooseTheme, themeNow } from "./theme.ts";

export const Preferences = () => {
  const t = useT();
  const chooseLanguage = useChooseLanguage();
  const [theme, setTheme] = useState(themeNow);
  const other = theme === "dark" ? "light" : "dark";
  return (
    <span className="preferences">
      <button
        type="button"
        className="button plain"
        lang={t.language === "ja" ? "en" : "ja"}
        onClick={() => chooseLanguage(t.language === "ja" ? "en" : "ja")}
      >
        {t.language === "ja" ? "English" : "日本語"}
      </button>
      <Button
        label={t(`theme.${other}`)}
        onClick={() => {
          chooseTheme(other);
          setTheme(other);
        }}
      >
        <span aria-hidden="true">{theme === "dark" ? "☀" : "☾"}</span>
      </Button>
    </span>
  );
};
