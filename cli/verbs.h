#pragma once

#include "cli/command_line.h"

// Every verb of `chorale`: each function adds one to its group's subcommands. Start here.
namespace chorale::cli {

// chorale federation …: the authority's directory, offline.
void AddFederationInit(CLI::App& group, Command& command);
void AddFederationInvite(CLI::App& group, Command& command);
void AddFederationSign(CLI::App& group, Command& command);
void AddFederationRevoke(CLI::App& group, Command& command);
void AddFederationMembers(CLI::App& group, Command& command);

// chorale site …: a hospital's directory.
void AddSiteInit(CLI::App& group, Command& command);
void AddSiteEnrol(CLI::App& group, Command& command);
void AddSiteDatasetAdd(CLI::App& group, Command& command);
void AddSiteDatasetList(CLI::App& group, Command& command);
void AddSiteAllow(CLI::App& group, Command& command);
void AddSiteCheck(CLI::App& group, Command& command);
void AddSiteBudget(CLI::App& group, Command& command);
void AddSiteBackup(CLI::App& group, Command& command);  // And restore, verify.
void AddSiteAcceptLoss(CLI::App& group, Command& command);

// chorale coordinator …: the coordinator's directory.
void AddCoordinatorInit(CLI::App& group, Command& command);
void AddCoordinatorEnrol(CLI::App& group, Command& command);
void AddCoordinatorSites(CLI::App& group, Command& command);
void AddCoordinatorBackup(CLI::App& group, Command& command);  // And restore, verify.
void AddCoordinatorAcceptLoss(CLI::App& group, Command& command);

// chorale researcher …, job …, model …: over the network, as a researcher.
void AddResearcherEnrol(CLI::App& group, Command& command);
void AddJobSubmit(CLI::App& group, Command& command);
void AddJobWatch(CLI::App& group, Command& command);
void AddJobList(CLI::App& group, Command& command);
void AddJobShow(CLI::App& group, Command& command);
void AddJobWhy(CLI::App& group, Command& command);
void AddJobCancel(CLI::App& group, Command& command);
void AddModelPull(CLI::App& group, Command& command);

// chorale privacy …: what training on patients' data costs them, computed on this machine.
void AddPrivacyAudit(CLI::App& group, Command& command);
void AddPrivacyEpsilon(CLI::App& group, Command& command);
void AddPrivacyNoise(CLI::App& group, Command& command);
void AddPrivacyPlan(CLI::App& group, Command& command);
void AddPrivacySteps(CLI::App& group, Command& command);
void AddPrivacyRdp(CLI::App& group, Command& command);

// chorale secagg …: what secure aggregation tolerates and costs, computed on this machine.
void AddSecaggExplain(CLI::App& group, Command& command);

// On this machine alone.
void AddEvaluate(CLI::App& program, Command& command);
void AddModelShow(CLI::App& group, Command& command);
void AddDataSynthetic(CLI::App& group, Command& command);

}  // namespace chorale::cli
