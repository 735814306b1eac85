/** Sends back what it gets: the floor of a request across a process. */
process.on('message', (message) => process.send?.({ reply: message }))
