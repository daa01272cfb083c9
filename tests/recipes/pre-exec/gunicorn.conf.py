def pre_exec(server):
    server.log.info("Forked child, re-executing.")
