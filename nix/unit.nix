# A packaged systemd unit as attributes: { Unit, Service, Install }, each key with its text. So there is one home for what
# agentd's service needs, and why.
{ lib, file }:

let
  lines = lib.filter (line: line != "" && !lib.hasPrefix "#" line) (
    lib.splitString "\n" (builtins.readFile file)
  );
  read =
    state: line:
    let
      section = builtins.match "\\[([A-Za-z]+)]" line;
      setting = builtins.match "([A-Za-z]+)=(.*)" line;
      key = lib.head setting;
    in
    if section != null then
      state // { section = lib.head section; }
    else if setting == null then
      throw "${toString file}: expected a section or KEY=VALUE, found: ${line}"
    else if state.units ? ${state.section}.${key} then
      throw "${toString file}: ${key} stands twice in [${state.section}]; write one line"
    else
      state
      // {
        units = lib.recursiveUpdate state.units { ${state.section}.${key} = lib.last setting; };
      };
in
(lib.foldl' read {
  section = "Unit";
  units = { };
} lines).units
