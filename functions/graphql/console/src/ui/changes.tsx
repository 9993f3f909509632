import { useT } from "../i18n/index.tsx";
import { withWord } from "./erased.ts";

type Change = { field: string; before?: unknown; after?: unknown };

const text = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value ?? null));

/** What an event has changed, field by field. */
export const Changes = ({ changes }: { changes: readonly Change[] }) => {
  const t = useT();
  const shown = (field: string, value: unknown) => text(withWord(value, t("erased"), field));
  if (changes.length === 0) return <p className="note">{t("changes.none")}</p>;
  return (
    <table className="changes">
      <thead>
        <tr>
          <th scope="col">{t("changes.field")}</th>
          <th scope="col">{t("changes.before")}</th>
          <th scope="col">{t("changes.after")}</th>
        </tr>
      </thead>
      <tbody>
        {changes.map(({ field, before, after }) => (
          <tr key={field}>
            <td>
              <code>{field}</code>
            </td>
            <td>{before === null || before === undefined ? "" : <del>{shown(field, before)}</del>}</td>
            <td>{after === null || after === undefined ? "" : <ins>{shown(field, after)}</ins>}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
};
