import type { ReactNode } from "react";

export type Column<Row> = { name: string; cell: (row: Row) => ReactNode; number?: boolean };

type Props<Row> = { rows: readonly Row[]; columns: readonly Column<Row>[]; keyOf: (row: Row) => string; caption: string };

/** A table that scrolls sideways on a narrow screen. */
export const Table = <Row,>({ rows, columns, keyOf, caption }: Props<Row>) => (
  <div className="table-place" role="region" aria-label={caption} tabIndex={0}>
    <table>
      <thead>
        <tr>
          {columns.map(({ name, number }) => (
            <th key={name} scope="col" className={number ? "number" : undefined}>
              {name}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {rows.map((row) => (
          <tr key={keyOf(row)}>
            {columns.map(({ name, number, cell }) => (
              <td key={name} className={number ? "number" : undefined}>
                {cell(row)}
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  </div>
);
