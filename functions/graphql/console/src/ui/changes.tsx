import { useT } from "../i18n/index.tsx";

type Change = { field: string; before?: unknown; after?: unknown };

const text = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value ?? null));

/** What an event has changed, field by field. */
export const Changes = ({ changes }: { changes: readonly Change[] }) => {
  const t = useT();
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
            <td>{before === null || before === undefined ? "" : <del>{text(before)}</del>}</td>
            <td>{after === null || after === undefined ? "" : <ins>{text(after)}</ins>}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
};
