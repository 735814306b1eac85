console.log('agent here', process.version, process.uptime())
