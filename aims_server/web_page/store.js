/** The state of the page in one object, and who is told when it changes. */

/**
 * @template T
 * @param {T} initial
 * @returns {{get: () => T, set: (changes: Partial<T>) => void,
 *            subscribe: (listener: (state: T) => void) => void}}
 *
 * Changes made in one task are told once, before the next frame is painted.
 */
export function createStore(initial) {
  let state = initial;
  let scheduled = false;
  const listeners = [];
  return {
    get: () => state,
    set(changes) {
      state = { ...state, ...changes };
      if (scheduled) return;
      scheduled = true;
      queueMicrotask(() => {
        scheduled = false;
        for (const listener of listeners) listener(state);
      });
    },
    subscribe: (listener) => void listeners.push(listener),
  };
}
