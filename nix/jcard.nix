# The jcard as a type: the fields of an agent that Nix can check. Anything else passes, for `agentd --check` to judge.
{ lib, toml }:

let
  inherit (lib) mkOption types;

  optional =
    type: description:
    mkOption {
      type = types.nullOr type;
      default = null;
      inherit description;
    };

  # Programs that write every field write "" for what is not set.
  unsetOr = types.either (types.enum [ "" ]);

  # As Go's time.ParseDuration takes them.
  duration =
    types.strMatching "(\\+?(0|(([0-9]+(\\.[0-9]*)?|\\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+))?"
    // {
      description = ''duration with a unit, as "90s" or "1h30m"'';
    };
  name = types.strMatching "([A-Za-z0-9][A-Za-z0-9_-]{0,62})?";

  agent = types.submodule {
    freeformType = toml.type;
    options = {
      name = optional name "Name of the agent; by default its harness.";
      harness = mkOption {
        type = types.str;
        example = "claude-code";
        description = "Which program the agent is: `claude-code`, `opencode`, `gemini-cli`, `codex`, `acp`, `custom`, or one of a plugin.";
      };
      type = optional (types.enum [
        ""
        "native"
        "sandboxed"
      ]) "Whether the agent runs in a sandbox.";
      prompt = optional types.str "What the agent is asked; it is readable by everybody in the Nix store.";
      prompt_file = optional (types.either types.path types.str) "File with the prompt; a path is copied to the Nix store.";
      mode = optional (types.enum [
        ""
        "auto"
        "oneshot"
        "interactive"
      ]) "How the program is run.";
      workdir = optional types.str "Where the agent works.";
      restart = optional (types.enum [
        ""
        "no"
        "on-failure"
        "always"
      ]) "When the agent is restarted.";
      max_restarts = optional (unsetOr types.ints.unsigned) "Restarts at most; 0 is no limit.";
      restart_delay = optional duration "First back-off.";
      restart_delay_max = optional duration "Longest back-off.";
      restart_reset = optional duration "A run that lasted this long resets the back-off.";
      success_exit_codes = optional (types.listOf (types.ints.between 0 255)) "What `on-failure` does not restart.";
      timeout = optional duration "Limit of the agent's whole life.";
      grace_period = optional duration "From the first stop signal to SIGKILL.";
      session = optional types.str "Name of the tmux session.";
      env = optional (types.attrsOf types.str) "Variables; no secrets, everybody can read them in the Nix store.";
      secrets = optional (types.listOf types.str) "Names of the secrets that the agent receives.";
      replicas = optional (unsetOr types.ints.unsigned) "How many of it.";
      enabled = optional (unsetOr types.bool) "Whether it runs.";
      command = optional (types.listOf types.str) "Command line, for the harnesses `custom` and `acp`.";
      args = optional (types.listOf types.str) "Further arguments.";
      model = optional types.str "Which model.";
    };
  };
in
types.submodule {
  freeformType = toml.type;
  options = {
    agent = optional agent "One agent.";
    agents = mkOption {
      type = types.listOf agent;
      default = [ ];
      description = "The agents.";
    };
  };
}
