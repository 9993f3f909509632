/** Numbers the requests of a query, and tells which answers to show: none older than one that is shown. */
export class Turns {
  private last = 0;
  private answered = 0;

  /** Return the number of a new request. */
  begin(): number {
    return ++this.last;
  }

  /** Return whether to show the answer to this request. False when a later request was answered before. */
  take(request: number): boolean {
    if (request <= this.answered) return false;
    this.answered = request;
    return true;
  }

  /** Whether the newest request has no answer yet. */
  get waiting(): boolean {
    return this.answered < this.last;
  }
}
