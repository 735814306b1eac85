/** The checker's face for actors that live outside the repository. */
export { check } from './explore.ts'
export { defineModel, type Model, type View } from './model.ts'
