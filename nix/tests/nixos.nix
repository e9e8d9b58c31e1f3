# A machine that boots, runs two agents, and keeps them while agentd is edited, restarted, killed and stopped.
# Run by `nix flake check`, which needs Linux with KVM.
module:
{ pkgs, lib, ... }:

{
  name = "agentd";

  nodes.machine = {
    imports = [ module ];
    users.users.agent = {
      isNormalUser = true;
      shell = "${pkgs.shadow}/bin/nologin";
    };
    users.groups.admin = { };
    users.users.admin = {
      isNormalUser = true;
      extraGroups = [ "admin" ];
    };
    users.users.other.isNormalUser = true;

    services.agentd = {
      enable = true;
      harnessPackages = [ pkgs.hello ];
      settings.agents = [
        {
          name = "sleeper";
          harness = "custom";
          command = [
            "sleep"
            "infinity"
          ];
          workdir = "~";
          replicas = 2;
        }
      ];
    };
    # As a distribution that builds on this module sets it.
    systemd.services.agentd.serviceConfig = {
      DynamicUser = lib.mkForce false;
      Restart = lib.mkForce "on-failure";
      RestartSec = 2;
    };

    specialisation.edited.configuration.services.agentd.settings.agents = [
      {
        name = "greeter";
        harness = "custom";
        command = [
          "sh"
          "-c"
          "hello; exec sleep infinity"
        ];
        workdir = "~";
      }
    ];
  };

  testScript = ''
    import json

    def agents():
        answer = machine.succeed("curl -sSf --unix-socket /run/stereos/agentd.sock http://localhost/v1/agents")
        return {agent["name"]: agent for agent in json.loads(answer)}

    def wait_for(count):
        def all_run(_):
            status, answer = machine.execute("curl -sf --unix-socket /run/stereos/agentd.sock http://localhost/v1/agents")
            return status == 0 and [agent["state"] for agent in json.loads(answer)] == ["running"] * count
        retry(all_run)
        return {name: agent["pid"] for name, agent in agents().items()}

    machine.wait_for_unit("agentd.service")
    before = wait_for(2)

    with subtest("agents are in a unit of their own"):
        for pid in before.values():
            assert "agentd.slice" in machine.succeed(f"cat /proc/{pid}/cgroup")

    with subtest("admin may poll and attach, another user may not"):
        poll = "curl -sSf --unix-socket /run/stereos/agentd.sock http://localhost/v1/health"
        machine.succeed(f"sudo -u admin {poll}")
        machine.succeed("sudo -u admin ${lib.getExe pkgs.tmux} -S /run/agentd/tmux.sock has-session -t =sleeper-0")
        machine.fail(f"sudo -u other {poll}")
        machine.fail("sudo -u other ${lib.getExe pkgs.tmux} -S /run/agentd/tmux.sock has-session -t =sleeper-0")

    for happens in ["restart agentd", "kill --signal=KILL agentd", "stop agentd"]:
        with subtest(f"agents survive systemctl {happens}"):
            machine.succeed(f"systemctl {happens}")
            machine.succeed("sleep 3; systemctl start agentd")
            machine.wait_for_unit("agentd.service")
            assert wait_for(2) == before

    with subtest("an edit of the settings starts what is new and touches nothing else"):
        machine.succeed("/run/booted-system/specialisation/edited/bin/switch-to-configuration test")
        after = wait_for(3)
        assert {name: after[name] for name in before} == before

    machine.shutdown()
  '';
}
