/**
 * The functions a proxy auto-configuration script may call, in its own language and inside its jail. Those that would ask a resolver answer
 * for literal addresses only; this machine's address is always the loopback's.
 */
export const pacFunctions = String.raw`
function isPlainHostName(host) { return host.indexOf('.') === -1 }
function dnsDomainIs(host, domain) { return host.length >= domain.length && host.slice(host.length - domain.length) === domain }
function localHostOrDomainIs(host, hostdom) { return host === hostdom || hostdom.lastIndexOf(host + '.', 0) === 0 }
function dnsDomainLevels(host) { return host.split('.').length - 1 }
function dnsResolve(host) { return /^\d{1,3}(\.\d{1,3}){3}$/.test(host) ? host : null }
function isResolvable(host) { return dnsResolve(host) !== null }
function myIpAddress() { return '127.0.0.1' }
function alert() {}
function convert_addr(text) {
  var parts = String(text).split('.')
  return ((parts[0] & 255) << 24) | ((parts[1] & 255) << 16) | ((parts[2] & 255) << 8) | (parts[3] & 255)
}
function isInNet(host, pattern, mask) {
  var address = dnsResolve(host)
  return address !== null && (convert_addr(address) & convert_addr(mask)) === (convert_addr(pattern) & convert_addr(mask))
}
function shExpMatch(text, pattern) {
  // Two pointers and one way back, so that no pattern takes long.
  var t = 0, p = 0, star = -1, mark = 0
  while (t < text.length) {
    if (p < pattern.length && pattern[p] === '*') { star = p++; mark = t }
    else if (p < pattern.length && (pattern[p] === '?' || pattern[p] === text[t])) { p++; t++ }
    else if (star !== -1) { p = star + 1; t = ++mark }
    else return false
  }
  while (p < pattern.length && pattern[p] === '*') p++
  return p === pattern.length
}
var __days = ['SUN', 'MON', 'TUE', 'WED', 'THU', 'FRI', 'SAT']
var __months = ['JAN', 'FEB', 'MAR', 'APR', 'MAY', 'JUN', 'JUL', 'AUG', 'SEP', 'OCT', 'NOV', 'DEC']
function __within(value, from, to) { return from <= to ? value >= from && value <= to : value >= from || value <= to }
function __zone(args) {
  var list = Array.prototype.slice.call(args)
  var utc = list[list.length - 1] === 'GMT'
  if (utc) list.pop()
  return { utc: utc, list: list }
}
function weekdayRange() {
  var a = __zone(arguments), now = new Date(), day = a.utc ? now.getUTCDay() : now.getDay()
  var from = __days.indexOf(a.list[0]), to = a.list.length > 1 ? __days.indexOf(a.list[1]) : from
  return from !== -1 && to !== -1 && __within(day, from, to)
}
function timeRange() {
  var a = __zone(arguments), n = new Date(), v = a.list
  var now = (a.utc ? n.getUTCHours() : n.getHours()) * 3600 + (a.utc ? n.getUTCMinutes() : n.getMinutes()) * 60 + (a.utc ? n.getUTCSeconds() : n.getSeconds())
  if (v.length === 1 || v.length === 2) return __within(now, v[0] * 3600, v[v.length - 1] * 3600 + 3599)
  if (v.length === 4) return __within(now, v[0] * 3600 + v[1] * 60, v[2] * 3600 + v[3] * 60 + 59)
  return v.length === 6 && __within(now, v[0] * 3600 + v[1] * 60 + v[2], v[3] * 3600 + v[4] * 60 + v[5])
}
function dateRange() {
  var a = __zone(arguments), n = new Date(), v = a.list, half = v.length > 1 ? v.length / 2 : 1
  var y = a.utc ? n.getUTCFullYear() : n.getFullYear(), m = a.utc ? n.getUTCMonth() : n.getMonth(), d = a.utc ? n.getUTCDate() : n.getDate()
  function read(list) {
    var out = { year: null, month: null, day: null }
    for (var i = 0; i < list.length; i++) {
      if (typeof list[i] === 'string') out.month = __months.indexOf(list[i])
      else if (list[i] > 31) out.year = list[i]
      else out.day = list[i]
    }
    return out
  }
  var from = read(v.slice(0, half)), to = v.length > 1 ? read(v.slice(half)) : from
  function number(at) { return (at.year === null ? 0 : at.year * 512) + (at.month === null ? 0 : at.month * 32) + (at.day === null ? 0 : at.day) }
  var now = (from.year === null ? 0 : y * 512) + (from.month === null ? 0 : m * 32) + (from.day === null ? 0 : d)
  return from.year === null ? __within(now, number(from), number(to)) : now >= number(from) && now <= number(to)
}
`
