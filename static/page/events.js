// A source of events: objects listen with `on({ name: handler, … })` and are called in the order in which they came.

export class Events {
  #listeners = [];

  on(handlers) {
    this.#listeners.push(handlers);
  }

  emit(name, ...values) {
    for (const handlers of this.#listeners) handlers[name]?.(...values);
  }
}
