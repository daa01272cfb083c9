# For clients that are older than the rules.
strip_header_spaces = True
permit_obsolete_folding = True
permit_unconventional_http_method = True
permit_unconventional_http_version = True
casefold_http_method = True
header_map = "dangerous"
