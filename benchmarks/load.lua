-- What wrk sends, and how it reports: wrk ... -s load.lua URL -- METHOD BODY_BYTES

function init(arguments)
   wrk.method = arguments[1] or "GET"
   local size = tonumber(arguments[2] or "0")
   if size > 0 then
      wrk.body = string.rep("x", size)
   end
end

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      '{"requests": %d, "seconds": %.6f, "p50": %.6f, "p99": %.6f, ' ..
      '"errors": {"connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}}\n',
      summary.requests, summary.duration / 1e6,
      latency:percentile(50) / 1e6, latency:percentile(99) / 1e6,
      errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
