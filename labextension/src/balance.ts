/** Credits that can still be spent, from either form of the answer; null while it was not heard. */
export function balanceOf(balance: object | undefined): number | null {
  const { remaining_credits: own, balance: team } = (balance ?? {}) as { remaining_credits?: number; balance?: string };
  return own ?? (team === undefined ? null : Number(team));
}
