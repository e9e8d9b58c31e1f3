{
  config,
  lib,
  pkgs,
  ...
}:

let
  inherit (lib) mkOption types;
  cfg = config.services.agentd;

  toml = pkgs.formats.toml { };
  unit = import ./unit.nix {
    inherit lib;
    file = ../agentd/cli/service/agentd.service;
  };

  gatewayUnit = import ./unit.nix {
    inherit lib;
    file = ../agentd/cli/service/agentd-gateway.service;
  };

  # TOML has no null.
  withoutNull =
    value:
    if lib.isDerivation value then
      value
    else if lib.isAttrs value then
      lib.mapAttrs (_: withoutNull) (lib.filterAttrs (_: each: each != null) value)
    else if lib.isList value then
      map withoutNull value
    else
      value;
  declared = settings: lib.filterAttrs (_: value: value != [ ]) (withoutNull settings);
  settings = declared cfg.settings;
  # By their paths below /etc/stereos.
  files =
    lib.optionalAttrs (settings != { }) { "jcard.toml" = toml.generate "jcard.toml" settings; }
    // lib.mapAttrs' (
      name: value:
      lib.nameValuePair "jcard.d/${name}.toml" (toml.generate "${baseNameOf name}.toml" (declared value))
    ) cfg.dropIns;
  checked = pkgs.runCommand "agentd-check" { } ''
    echo "# Drop-ins alone." >jcard.toml
    ${lib.concatStrings (
      lib.mapAttrsToList (path: file: "install -Dm644 ${file} ${lib.escapeShellArg path}\n") files
    )}
    HOME=$TMPDIR ${lib.getExe cfg.package} --check --config "$PWD/jcard.toml" >$out || { cat $out; exit 1; }
  '';

  agents = lib.concatMap (jcard: (jcard.agents or [ ]) ++ lib.optional (jcard ? agent) jcard.agent) (
    [ settings ] ++ map declared (lib.attrValues cfg.dropIns)
  );
  sandboxed = lib.filter (agent: (agent.type or "native") == "sandboxed") agents;

  # Of agentd and its gateway.
  sharedFlags =
    lib.optionals (cfg.configFile != null) [
      "--config"
      cfg.configFile
    ]
    ++ lib.optionals (cfg.secretDir != null) [
      "--secret-dir"
      cfg.secretDir
    ]
    ++ lib.optionals (cfg.agentUser != null) [
      "--agent-user"
      cfg.agentUser
    ]
    ++ lib.optionals (cfg.adminGroup != null) [
      "--admin-group"
      cfg.adminGroup
    ];
  flags =
    sharedFlags
    ++ [
      "--on-shutdown"
      (if cfg.keepAgentsOnRestart then "keep" else "stop")
    ]
    # Last, so that they win.
    ++ cfg.extraArgs;
  gatewayFlags =
    sharedFlags
    ++ lib.concatMap (address: [
      "--listen"
      address
    ]) cfg.gateway.listen
    ++ lib.concatMap (file: [
      "--auth-token-file"
      file
    ]) cfg.gateway.tokenFiles
    ++ cfg.gateway.extraArgs;
  agentUser = if cfg.agentUser == null then "agent" else cfg.agentUser;

  # systemd replaces % and $ in a command line, and knows quotes and backslashes.
  quote =
    word:
    let
      text = lib.replaceStrings [ "\\" "\"" "%" "$" "\n" ] [ "\\\\" "\\\"" "%%" "$$" "\\n" ] (toString word);
    in
    if builtins.match "[A-Za-z0-9_@/:=.,+-]+" text != null then text else ''"${text}"'';
in
{
  options.services.agentd = {
    enable = lib.mkEnableOption "agentd, the supervisor of AI coding agents";

    package = mkOption {
      type = types.package;
      default = pkgs.agentd or (pkgs.callPackage ./package.nix { });
      defaultText = lib.literalExpression "pkgs.agentd, which is this flake's without its overlay too";
      description = "The agentd to run.";
    };

    extraArgs = mkOption {
      type = types.listOf types.str;
      default = [ ];
      example = [ "--debug" ];
      description = "Further flags; they win over what other options say.";
    };

    settings = mkOption {
      type = import ./jcard.nix { inherit lib toml; };
      default = { };
      example = {
        agents = [
          {
            name = "reviewer";
            harness = "claude-code";
            prompt = "Review the open pull requests.";
            restart = "on-failure";
          }
        ];
      };
      description = ''
        The jcard, rendered to `/etc/stereos/jcard.toml`, where a change is acted on without a restart. Everybody can read
        it: secrets belong into {option}`services.agentd.secretDir`. Left empty, that file is yours to write.
      '';
    };

    dropIns = mkOption {
      type = types.attrsOf (import ./jcard.nix { inherit lib toml; });
      default = { };
      example = {
        "ci/nightly".agents = [
          {
            name = "nightly";
            harness = "codex";
            prompt = "Fix what the nightly build found.";
          }
        ];
      };
      description = ''
        Drop-ins by name, each rendered to `/etc/stereos/jcard.d/NAME.toml`, so that modules and teams declare agents side by
        side. In a name `OWNER/NAME`, OWNER becomes the owner of its agents. Everybody can read them.
      '';
    };

    checkSettings = mkOption {
      type = types.bool;
      default = true;
      description = ''
        Whether the build runs `agentd --check` on {option}`services.agentd.settings` and
        {option}`services.agentd.dropIns` together. It sees what the Nix store holds only:
        turn it off for a `prompt_file` that exists on the machine alone, or a harness of a plugin.
      '';
    };

    configFile = mkOption {
      type = types.nullOr (types.either types.path types.str);
      default = null;
      example = "/var/lib/stereos/jcard.toml";
      description = "The jcard, if not `/etc/stereos/jcard.toml`.";
    };

    secretDir = mkOption {
      type = types.nullOr types.str;
      default = null;
      example = "/run/secrets/agents";
      description = "Folder with one file for each secret; by default `/run/stereos/secrets`.";
    };

    agentUser = mkOption {
      type = types.nullOr types.str;
      default = null;
      description = "User that the agents run as; by default `agent` if that user exists, else root.";
    };

    adminGroup = mkOption {
      type = types.nullOr types.str;
      default = null;
      description = "Group that may attach and poll; by default `admin` if that group exists.";
    };

    keepAgentsOnRestart = mkOption {
      type = types.bool;
      default = true;
      description = ''
        Whether agents go on while agentd is restarted, upgraded or stopped, and are adopted by the next agentd. They are
        stopped in any case when the machine shuts down.
      '';
    };

    sandbox.enable = mkOption {
      type = types.bool;
      default = sandboxed != [ ];
      defaultText = lib.literalMD ''whether an agent in {option}`services.agentd.settings` or {option}`services.agentd.dropIns` has `type = "sandboxed"`'';
      description = ''
        Whether agents may be sandboxed: puts bubblewrap on the unit's path (gVisor too where an agent says
        `sandbox = "gvisor"`), with OpenSSL for secrets that are for hosts alone, and lets users make user namespaces. Set it for a
        jcard that is not written here.
      '';
    };

    gateway = {
      enable = lib.mkEnableOption "agentd-gateway, by which others talk to the agents";

      listen = mkOption {
        type = types.listOf types.str;
        default = [ ];
        example = [
          "127.0.0.1:8765"
          "unix:/run/agentd/gateway.sock"
        ];
        description = ''
          Where it listens, if not where `gateway` in {option}`services.agentd.settings` says, or `127.0.0.1:8765`. On anything but
          loopback and Unix sockets it wants a token.
        '';
      };

      tokenFiles = mkOption {
        type = types.listOf types.str;
        default = [ ];
        example = [ "/run/secrets/agentd-gateway" ];
        description = "Files with an administrator's token on each line. Tokens of users are `gateway.tokens` in the jcard.";
      };

      extraArgs = mkOption {
        type = types.listOf types.str;
        default = [ ];
        example = [ "--max-concurrency=8" ];
        description = "Further flags.";
      };
    };

    harnessPackages = mkOption {
      type = types.listOf types.package;
      default = [ ];
      example = lib.literalExpression "[ pkgs.claude-code pkgs.git ]";
      description = "Packages on the agents' PATH: the coding agents, and what they call.";
    };
  };

  config = lib.mkIf cfg.enable {
    assertions = [
      {
        assertion = lib.all (name: builtins.match "([^./][^/]*/)?[^./][^/]*" name != null) (
          lib.attrNames cfg.dropIns
        );
        message = "services.agentd.dropIns: a name is NAME or OWNER/NAME, with no dot in front";
      }
      {
        assertion = cfg.dropIns == { } || cfg.configFile == null;
        message = "services.agentd: dropIns stand beside /etc/stereos/jcard.toml, and configFile is another jcard; set one of them";
      }
      {
        assertion = settings == { } || cfg.configFile == null;
        message = "services.agentd: settings and configFile both say what the jcard is; set one of them";
      }
      {
        assertion = cfg.sandbox.enable -> config.security.allowUserNamespaces;
        message = "services.agentd: sandboxed agents need user namespaces; set security.allowUserNamespaces, or services.agentd.sandbox.enable = false";
      }
    ];
    warnings = lib.optional (!(config.users.users ? ${agentUser})) (
      "services.agentd: users.users has no ${agentUser}: "
      + (
        if cfg.agentUser == null then
          "agents will run as root, unless that user is made otherwise"
        else
          "agentd will not start, unless that user is made otherwise"
      )
    );

    environment.systemPackages = [ cfg.package ];

    # A hardened kernel forbids them to users otherwise.
    security.unprivilegedUsernsClone = lib.mkIf cfg.sandbox.enable (lib.mkDefault true);

    environment.etc = lib.mapAttrs' (
      path: file: lib.nameValuePair "stereos/${path}" { source = file; }
    ) files;
    system.checks = lib.optional (cfg.checkSettings && files != { }) checked;

    systemd.services.agentd = {
      description = lib.mkDefault unit.Unit.Description;
      wantedBy = [ unit.Install.WantedBy ];
      wants = [ unit.Unit.Wants ];
      after = [ unit.Unit.After ];
      # Before the defaults of NixOS, which hold systemd-run.
      path =
        cfg.harnessPackages
        ++ [
          pkgs.bash
          (cfg.package.tmux or pkgs.tmux)
        ]
        ++ lib.optionals cfg.sandbox.enable [
          pkgs.bubblewrap
          pkgs.openssl
        ]
        ++ lib.optional (lib.any (agent: (agent.sandbox or "") == "gvisor") sandboxed) pkgs.gvisor;
      unitConfig = lib.mapAttrs (_: lib.mkDefault) (
        removeAttrs unit.Unit [
          "Description"
          "Wants"
          "After"
        ]
      );
      # Each a default, so that another module may set it without mkForce.
      serviceConfig = lib.mapAttrs (_: lib.mkDefault) (
        unit.Service
        // {
          ExecStart = lib.concatStringsSep " " ([ (lib.getExe cfg.package) ] ++ map quote flags);
          ExecReload = "${pkgs.coreutils}/bin/kill -HUP $MAINPID";
        }
      );
    };

    systemd.services.agentd-gateway = lib.mkIf cfg.gateway.enable {
      description = lib.mkDefault gatewayUnit.Unit.Description;
      wantedBy = [ gatewayUnit.Install.WantedBy ];
      wants = lib.splitString " " gatewayUnit.Unit.Wants;
      after = lib.splitString " " gatewayUnit.Unit.After;
      unitConfig = lib.mapAttrs (_: lib.mkDefault) (
        removeAttrs gatewayUnit.Unit [
          "Description"
          "Wants"
          "After"
        ]
      );
      serviceConfig = lib.mapAttrs (_: lib.mkDefault) (
        gatewayUnit.Service
        // {
          ExecStart = lib.concatStringsSep " " (
            [ (lib.getExe' cfg.package "agentd-gateway") ] ++ map quote gatewayFlags
          );
        }
      );
    };
  };
}
