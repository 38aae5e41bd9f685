"""The Compose language: text in, text out; no file, no process, no network.

Deploying, on the node (the placeholder way)::

    bundle  = Bundle(files)                         # bundle: path -> bytes; optional compose_files, secrets_root
    scan    = find_references(bundle)               # references: .occurrences .problems .references (server and agent)
    words   = to_placeholders(bundle)               # placeholders: .files .compose_files .placeholders; raises all problems
    ...       write words.files to tmpfs; docker compose -f A -f B config --format json
    model   = parse_model(output)                   # model
    plan    = plan_injection(model, words.placeholders, root="/run/overseer/shop")  # injection: .services .persists .problems
    done    = deliver(plan, words.placeholders, values)  # delivery: .compose_input for "docker compose -f -", .files

``values`` maps ``grammar.Reference`` to ``SecretValue``; ``fields.select_field`` takes ``#field`` out of a JSON value.
Import from the modules named here; this package's ``__init__`` imports nothing, so that a command pays only for what it uses.
"""
