/** Return what a box shows once the address says `given`: spaces around it are typed, and not in the address. */
export const shownFor = (typed: string, given: string): string => (typed.trim() === given ? typed : given);
