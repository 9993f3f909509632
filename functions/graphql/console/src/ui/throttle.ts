/** Run `run` at most once in so many milliseconds: at their end, however often it was asked for meanwhile. */
export const throttle = (run: () => void, milliseconds: number): { ask: () => void; cancel: () => void } => {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const cancel = () => {
    clearTimeout(timer);
    timer = undefined;
  };
  const ask = () => {
    timer ??= setTimeout(() => {
      timer = undefined;
      run();
    }, milliseconds);
  };
  return { ask, cancel };
};
