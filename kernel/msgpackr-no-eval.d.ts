/** msgpackr ships this build without declarations; it has the main entry's surface. */
declare module 'msgpackr/index-no-eval' {
  export { Packr, Unpackr } from 'msgpackr'
}
