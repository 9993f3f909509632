type Row = { id: string };

/**
 * Return the chosen row. `kept`: what was chosen before, which stays when the list no longer has it. `listed`: whether
 * the list has it.
 */
export const chosenOf = <One extends Row>(
  rows: readonly One[],
  id: string | null,
  kept: One | undefined,
): { row?: One; listed: boolean } => {
  const row = rows.find((one) => one.id === id);
  if (row) return { row, listed: true };
  return { row: kept?.id === id ? kept : undefined, listed: false };
};
