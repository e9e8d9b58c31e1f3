{
  description = "agentd: supervises AI coding agents in tmux, driven by one declarative file";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixpkgs-unstable";

  outputs =
    { self, nixpkgs }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
        "x86_64-darwin"
        "aarch64-darwin"
      ];
      forEach = names: f: nixpkgs.lib.genAttrs names (system: f nixpkgs.legacyPackages.${system});
    in
    {
      overlays.default = final: _prev: { agentd = final.callPackage ./nix/package.nix { }; };

      packages = forEach systems (pkgs: rec {
        agentd = pkgs.callPackage ./nix/package.nix { };
        default = agentd;
      });

      nixosModules = rec {
        agentd = ./nix/module.nix;
        default = agentd;
      };

      devShells = forEach systems (pkgs: {
        default = pkgs.mkShell {
          packages = [
            pkgs.gnumake
            pkgs.python3
            pkgs.ruff
            pkgs.shellcheck
            pkgs.tmux
            pkgs.uv
          ];
        };
      });

      # What only a machine with Nix can check: the package, with its tests, and a booted NixOS (Linux with KVM).
      checks =
        forEach systems (pkgs: {
          package = self.packages.${pkgs.stdenv.hostPlatform.system}.agentd;
        })
        // forEach [ "x86_64-linux" "aarch64-linux" ] (pkgs: {
          package = self.packages.${pkgs.stdenv.hostPlatform.system}.agentd;
          nixos = pkgs.testers.runNixOSTest (import ./nix/tests/nixos.nix self.nixosModules.default);
        });
    };
}
