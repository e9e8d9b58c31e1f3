# The module, evaluated with the real lib of nixpkgs and as much of NixOS as it touches. For tests/packaging/test_nix.py:
#   nix-instantiate --eval --strict --json nix/tests/evaluate.nix --arg lib 'import PATH/lib' --arg modules '[ ... ]'
{
  lib,
  modules,
  module ? ../module.nix,
  # Which of its services is shown.
  service ? "agentd",
}:

let
  inherit (lib) mkOption types;

  package =
    name:
    {
      type = "derivation";
      inherit name;
      outPath = "/nix/store/${name}";
      __toString = self: self.outPath;
      meta.mainProgram = name;
    };
  pkgs = {
    stdenv.hostPlatform.system = "x86_64-linux";
    agentd = package "agentd" // {
      tmux = package "tmux-of-agentd";
    };
    bash = package "bash";
    bubblewrap = package "bubblewrap";
    coreutils = package "coreutils";
    openssl = package "openssl";
    tmux = package "tmux";
    gvisor = package "gvisor";
    nix = package "nix";
    hello = package "hello";
    # Its real type, as far as TOML goes; what it would render is handed on as JSON.
    formats.toml = _: {
      type =
        let
          value =
            types.oneOf [
              types.bool
              types.int
              types.float
              types.str
              types.path
              (types.attrsOf value)
              (types.listOf value)
            ]
            // {
              description = "TOML value";
            };
        in
        value;
      generate = name: value: {
        type = "derivation";
        inherit name value;
        outPath = "/nix/store/${name}";
      };
    };
    runCommand = name: _: script: {
      type = "derivation";
      inherit name script;
      outPath = "/nix/store/checked-${name}";
    };
  };

  # As systemd-unit-options.nix of NixOS has it: a key is set once, or to a list.
  unitOption =
    let
      plain = types.oneOf [
        types.bool
        types.int
        types.float
        types.str
        types.path
        types.package
      ];
    in
    types.mkOptionType {
      name = "systemd option";
      check = value: if lib.isList value then lib.all plain.check value else plain.check value;
      merge =
        loc: defs:
        let
          defs' = lib.filterOverrides defs;
        in
        if lib.any (def: lib.isList def.value) defs' then
          lib.concatMap (def: lib.toList def.value) defs'
        else
          lib.mergeEqualOption loc defs';
    };
  strings = mkOption {
    type = types.listOf types.str;
    default = [ ];
  };
  section = mkOption {
    type = types.attrsOf unitOption;
    default = { };
  };
  unit = types.submodule {
    options = {
      description = mkOption {
        type = types.str;
        default = "";
      };
      after = strings;
      before = strings;
      requires = strings;
      wants = strings;
      wantedBy = strings;
      path = mkOption {
        type = types.listOf (types.oneOf [
          types.package
          types.str
        ]);
        default = [ ];
      };
      unitConfig = section;
      serviceConfig = section;
    };
  };
  nixos = {
    options = {
      assertions = mkOption {
        type = types.listOf types.unspecified;
        default = [ ];
      };
      warnings = strings;
      systemd.services = mkOption {
        type = types.attrsOf unit;
        default = { };
      };
      systemd.tmpfiles.rules = strings;
      users.users = mkOption {
        type = types.attrsOf types.anything;
        default = { };
      };
      users.groups = mkOption {
        type = types.attrsOf types.anything;
        default = { };
      };
      security.allowUserNamespaces = mkOption {
        type = types.bool;
        default = true;
      };
      security.unprivilegedUsernsClone = mkOption {
        type = types.bool;
        default = false;
      };
      environment.systemPackages = mkOption {
        type = types.listOf types.package;
        default = [ ];
      };
      system.checks = mkOption {
        type = types.listOf types.package;
        default = [ ];
      };
      environment.etc = mkOption {
        type = types.attrsOf (
          types.submodule { options.source = mkOption { type = types.unspecified; }; }
        );
        default = { };
      };
    };
    config._module.args = { inherit pkgs; };
  };

  config =
    (lib.evalModules {
      modules = [
        nixos
        module
      ]
      ++ modules;
    }).config;
  failed = map (each: each.message) (lib.filter (each: !each.assertion) config.assertions);

  shown =
    value:
    if lib.isBool value then
      lib.boolToString value
    else
      toString value;
  lines =
    settings:
    lib.concatStrings (
      lib.mapAttrsToList (
        key: value: lib.concatMapStrings (each: "${key}=${shown each}\n") (lib.toList value)
      ) settings
    );
  words = key: values: lib.optionalAttrs (values != [ ]) { ${key} = lib.concatStringsSep " " values; };
  it = config.systemd.services.${service};
in
if failed != [ ] then
  throw "failed assertions: ${lib.concatStringsSep "; " failed}"
else if !(config.systemd.services ? ${service}) then
  { services = lib.attrNames config.systemd.services; }
else
  {
    inherit (config) warnings;
    inherit (it) serviceConfig;
    path = map toString it.path;
    userNamespaces = config.security.unprivilegedUsernsClone;
    tmpfiles = config.systemd.tmpfiles.rules;
    packages = map (each: each.name) config.environment.systemPackages;
    # As NixOS writes it.
    unit =
      "[Unit]\n"
      + lines (
        { Description = it.description; }
        // words "After" it.after
        // words "Requires" it.requires
        // words "Wants" it.wants
        // it.unitConfig
      )
      + "\n[Service]\n"
      + lines it.serviceConfig
      + "\n[Install]\n"
      + lines (words "WantedBy" it.wantedBy);
    check = if config.system.checks == [ ] then null else (lib.head config.system.checks).script;
    files = lib.mapAttrs (_: each: each.source.value) config.environment.etc;
  }
