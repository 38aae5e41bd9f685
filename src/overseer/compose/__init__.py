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
Rendering and checking files (the splice way)::

    render_file(data, values, path=…)               # render: .text (a SecretValue) .references .warnings; raises all problems
    render_env_file(data, values, path=…)           # render_env: the same for env_files
    lint_bundle(bundle) -> findings                 # lint; findings.Finding.as_json(), findings.sarif(findings, version)
    fix_file(data) -> data                          # fixes: only what cannot change the meaning
    diff_versions(running, scan, available)         # versions: which references change version, without values
    Advice(scope, known, elsewhere)                 # advice: what to say about a missing secret; given to render_file and deliver

Import from the modules named here; this package's ``__init__`` imports nothing, so that a command pays only for what it uses.
"""
