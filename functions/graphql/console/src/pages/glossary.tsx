import { Link } from "wouter";

import glossary from "../glossary.json";
import { useT } from "../i18n/index.tsx";

/** The words of the shop, from the same file as shared/glossary.md. */
const Glossary = () => {
  const t = useT();
  return (
    <>
      <h1>{t("nav.glossary")}</h1>
      <dl className="glossary">
        {glossary.map(({ id, name, page, text }) => (
          <div key={id} id={id}>
            <dt>
              <Link href={page}>{name[t.language]}</Link>
              {t.language !== "en" && <span lang="en">{` ${name.en}`}</span>}
            </dt>
            <dd>{text[t.language]}</dd>
          </div>
        ))}
      </dl>
    </>
  );
};

export default Glossary;
