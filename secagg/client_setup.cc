#include <algorithm>
#include <string>
#include <utility>

#include "secagg/client_session.h"
#include "secagg/client_steps.h"
#include "secagg/setup_messages.h"
#include "secagg/shamir.h"

// A site's side of setting a session up.
namespace chorale::secagg {
namespace {

std::shared_ptr<const Bytes> Keep(Bytes bytes) {
  return std::make_shared<const Bytes>(std::move(bytes));
}

// What a site was told about the session, against what it knows and allows.
Status CheckApproved(const SessionTerms& terms, const ClientOptions& options) {
  const ClientPolicy& policy = options.policy;
  if (terms.federation != options.federation || terms.job != options.job ||
      terms.job_digest != options.job_digest) {
    return Refused(RefusalCode::kParametersNotApproved,
                   "the session must be of job " + options.job.value() +
                       " as this site knows it, "
                       "got job " +
                       terms.job.value() + " of federation " + terms.federation);
  }
  if (std::ranges::find(policy.suites, terms.suite) == policy.suites.end()) {
    return Refused(RefusalCode::kParametersNotApproved,
                   "suite " + std::to_string(static_cast<std::uint32_t>(terms.suite)) +
                       " is not among those that the policy allows");
  }
  if (terms.num_rounds > policy.group.max_rounds) {
    return Refused(RefusalCode::kParametersNotApproved,
                   "num_rounds must be at most " + std::to_string(policy.group.max_rounds) +
                       ", got " + std::to_string(terms.num_rounds));
  }
  if (terms.not_after - terms.created_at > policy.max_lifetime) {
    return Refused(RefusalCode::kParametersNotApproved,
                   "the session's lifetime must be at most " + FormatDuration(policy.max_lifetime) +
                       ", got " + FormatDuration(terms.not_after - terms.created_at));
  }
  if (std::ranges::find(options.used_nonces, terms.nonce) != options.used_nonces.end()) {
    return Refused(RefusalCode::kSessionReplayed, "the nonce is that of an earlier session");
  }
  CHORALE_RETURN_IF_ERROR(CheckGroup(terms.group, policy.group));
  if (terms.neighbors.has_value() && terms.group.colluders < policy.group.colluders) {
    return Refused(RefusalCode::kParametersNotApproved, "the degree must withstand " +
                                                            std::to_string(policy.group.colluders) +
                                                            " colluders, the manifest plans for " +
                                                            std::to_string(terms.group.colluders));
  }
  return CheckGraph(terms);
}

struct Dealing {
  DealtShares message;
  DealtSecrets secrets;
};

// Draws the seeds, shares them and the mask keys, and seals the shares for their holders.
StatusOr<Dealing> Deal(const SessionView& view, MemberIndex self, const ClientSecrets& secrets,
                       RandomSource& random) {
  const std::vector<MemberIndex>& holders = view.HoldersOf(self);
  const std::uint32_t num_rounds = view.terms().num_rounds;
  std::vector<ShareIndex> xs;
  std::vector<crypto::AeadKey> channels;
  for (const MemberIndex holder : holders) {
    xs.push_back(holder + 1);
    CHORALE_ASSIGN_OR_RETURN(crypto::AeadKey channel,
                             ChannelKey(view.id(), *secrets.channel_key(), self,
                                        view.channel_key(holder), holder, self, holder));
    channels.push_back(std::move(channel));
  }
  if (view.keeps_own_share()) xs.push_back(self + 1);

  Dealing dealing{
      .message = {.session = view.id(), .member = self, .commitments = {}, .shares = {}},
      .secrets = {}};
  Bytes& sealed = dealing.message.shares.sealed;
  dealing.message.shares.members = holders;
  sealed.resize(holders.size() * num_rounds * kSealedSharesBytes);
  crypto::SecretBytes plaintext(kSharesPlaintextBytes);
  const std::span<std::uint8_t> plain = plaintext.MutableReveal();
  for (std::uint32_t round = 1; round <= num_rounds; ++round) {
    crypto::SecretBytes seed(kSharedSecretBytes);
    random.Fill(seed.MutableReveal());
    const std::uint32_t threshold = view.terms().share_threshold();
    CHORALE_ASSIGN_OR_RETURN(std::vector<SecretShare> of_seed,
                             ShareSecret(seed, threshold, xs, random));
    CHORALE_ASSIGN_OR_RETURN(const std::vector<SecretShare> of_key,
                             ShareSecret(secrets.mask_key(round)->bytes(), threshold, xs, random));
    for (std::size_t i = 0; i < holders.size(); ++i) {
      EncodeShare(of_seed[i], plain.first<kShareBytes>());
      EncodeShare(of_key[i], plain.last<kShareBytes>());
      const Bytes seal = SealShares(channels[i], view.id(), round, self, holders[i], kSharesType,
                                    plaintext.Reveal());
      const std::size_t place = (i * num_rounds + round - 1) * kSealedSharesBytes;
      std::ranges::copy(seal, sealed.begin() + static_cast<std::ptrdiff_t>(place));
    }
    dealing.message.commitments.push_back(SeedCommitment(view.id(), self, round, seed));
    dealing.secrets.seeds.push_back(std::move(seed));
    // The own share of the mask key is of no use: a site never counts itself among the dropped.
    if (view.keeps_own_share()) dealing.secrets.own_shares.push_back(std::move(of_seed.back()));
  }
  return dealing;
}

// All rounds of one dealer, or why they cannot be used.
StatusOr<std::vector<crypto::SecretBytes>> OpenAll(const crypto::AeadKey& channel,
                                                   const SessionView& view, MemberIndex dealer,
                                                   MemberIndex self, ByteSpan sealed) {
  std::vector<crypto::SecretBytes> opened;
  for (std::uint32_t round = 1; round <= view.terms().num_rounds; ++round) {
    CHORALE_ASSIGN_OR_RETURN(
        crypto::SecretBytes plaintext,
        OpenShares(channel, view.id(), round, dealer, self, kSharesType,
                   sealed.subspan((round - 1) * kSealedSharesBytes, kSealedSharesBytes)));
    CHORALE_RETURN_IF_ERROR(DecodeShare(plaintext.Reveal().first(kShareBytes)).status());
    CHORALE_RETURN_IF_ERROR(DecodeShare(plaintext.Reveal().last(kShareBytes)).status());
    opened.push_back(std::move(plaintext));
  }
  return opened;
}

}  // namespace

StatusOr<SessionTerms> ClientSession::AcceptManifest(ByteSpan message, Time now) const {
  CHORALE_ASSIGN_OR_RETURN(const ByteSpan body, OpenMessage(MessageKind::kSessionManifest, message,
                                                            options_->coordinator_key));
  CHORALE_ASSIGN_OR_RETURN(const v1::SessionManifest manifest, DecodeManifest(body));
  CHORALE_ASSIGN_OR_RETURN(SessionTerms terms, DecodeTerms(manifest, crypto::Sha256(message)));
  CHORALE_RETURN_IF_ERROR(CheckApproved(terms, *options_));
  CHORALE_ASSIGN_OR_RETURN(std::vector<Member> members, options_->verifier.Verify(manifest, now));
  if (!std::ranges::equal(members, terms.members, {}, &Member::site, &Member::site)) {
    return Refused(RefusalCode::kRosterInvalid,
                   "the verified members are not those of the manifest");
  }
  CHORALE_RETURN_IF_ERROR(CheckDistinct(members));
  terms.members = std::move(members);
  return terms;
}

StatusOr<ClientSession::Transition> ClientSession::On(AwaitingManifest,
                                                      const ManifestReceived& event,
                                                      Time now) const {
  CHORALE_ASSIGN_OR_RETURN(SessionTerms terms, AcceptManifest(event.message, now));
  const std::optional<MemberIndex> self = FindMember(terms.members, options_->site);
  if (!self.has_value() || terms.members[*self].key != options_->signing_key.public_key()) {
    return Refused(RefusalCode::kRosterInvalid,
                   "site " + options_->site.value() + " and its key must be in the manifest");
  }
  CHORALE_ASSIGN_OR_RETURN(
      const Time expires_at,
      LocalDeadline("the session", terms.created_at, terms.not_after, options_->policy, now));
  ClientSecrets secrets = ClientSecrets::Draw(terms.num_rounds, options_->random);
  AdvertisedKeys keys{.manifest = terms.manifest,
                      .member = *self,
                      .channel_key = secrets.channel_key()->public_key(),
                      .mask_keys = {},
                      .neighbors = {}};
  for (std::uint32_t round = 1; round <= terms.num_rounds; ++round) {
    keys.mask_keys.push_back(secrets.mask_key(round)->public_key());
  }
  if (terms.neighbors.has_value()) {
    keys.neighbors = DrawNeighbors(terms.num_members(), *self, terms.neighbors->graph.out_degree,
                                   options_->random);
  }
  const auto message =
      Keep(SignMessage(MessageKind::kAdvertiseKeys, Encode(keys), options_->signing_key));
  return Transition{
      .next = AwaitingKeys{{.terms = std::make_shared<const SessionTerms>(std::move(terms)),
                            .self = *self,
                            .expires_at = expires_at,
                            .manifest = Keep(event.message),
                            .advertise_keys = message}},
      .actions = OneAction(Send{MessageKind::kAdvertiseKeys, *message}),
      .drawn = std::move(secrets)};
}

StatusOr<ClientSession::Transition> ClientSession::SecondManifest(
    const Membership& membership, ClientState state, const ManifestReceived& event) const {
  if (event.message == *membership.manifest) {
    return Transition{
        .next = std::move(state),
        .actions = OneAction(Send{MessageKind::kAdvertiseKeys, *membership.advertise_keys})};
  }
  CHORALE_ASSIGN_OR_RETURN(
      const ByteSpan body,
      OpenMessage(MessageKind::kSessionManifest, event.message, options_->coordinator_key));
  CHORALE_ASSIGN_OR_RETURN(const v1::SessionManifest manifest, DecodeManifest(body));
  if (AsText(membership.terms->nonce) != manifest.nonce()) {
    return Refused(RefusalCode::kWrongSession, "the manifest is of another session");
  }
  const Status reason =
      Refused(RefusalCode::kEquivocation, "the coordinator signed two manifests with one nonce");
  return Transition{.next = Closed{reason},
                    .actions = OneAction(Withdraw{std::nullopt, reason}),
                    .erase_all = true,
                    .evidence = {{.code = RefusalCode::kEquivocation,
                                  .what = "the coordinator signed two manifests with one nonce",
                                  .first = *membership.manifest,
                                  .second = event.message}}};
}

StatusOr<ClientSession::Transition> ClientSession::On(AwaitingKeys state, const KeysReceived& event,
                                                      Time) const {
  const Membership& membership = state.membership;
  const MemberIndex self = membership.self;
  CHORALE_ASSIGN_OR_RETURN(SessionView view,
                           SessionView::FromDirectory(membership.terms, event.message));
  if (!view.HasAdvertised(self) ||
      view.advertisement(self) != crypto::Sha256(*membership.advertise_keys)) {
    return Refused(RefusalCode::kKeyInvalid, "this site's own keys are missing or were altered");
  }
  const std::size_t num_holders = view.HoldersOf(self).size() + (view.keeps_own_share() ? 1 : 0);
  if (num_holders < membership.terms->share_threshold()) {
    return Refused(RefusalCode::kGroupTooSmall,
                   "at least " + std::to_string(membership.terms->share_threshold()) +
                       " members must hold this site's shares, got " + std::to_string(num_holders));
  }
  CHORALE_ASSIGN_OR_RETURN(Dealing dealing, Deal(view, self, secrets_, options_->random));
  const auto message =
      Keep(SignMessage(MessageKind::kShareKeys, Encode(dealing.message), options_->signing_key));
  return Transition{
      .next = AwaitingShares{.membership = membership,
                             .view = std::make_shared<const SessionView>(std::move(view)),
                             .directory = crypto::Sha256(event.message),
                             .share_keys = message},
      .actions = OneAction(Send{MessageKind::kShareKeys, *message}),
      .dealt = std::move(dealing.secrets)};
}

StatusOr<ClientSession::Transition> ClientSession::On(AwaitingShares state,
                                                      const KeysReceived& event, Time) const {
  if (crypto::Sha256(event.message) != state.directory) {
    return Refused(RefusalCode::kConflictingSets, "the session has other keys already");
  }
  Send again{MessageKind::kShareKeys, *state.share_keys};
  return Transition{.next = std::move(state), .actions = OneAction(std::move(again))};
}

StatusOr<ClientSession::Transition> ClientSession::On(AwaitingShares state,
                                                      const SharesReceived& event, Time) const {
  const SessionView& view = *state.view;
  const MemberIndex self = state.membership.self;
  CHORALE_ASSIGN_OR_RETURN(const DeliveredShares delivered, DecodeShareDelivery(event.message));
  if (delivered.session != view.id() || delivered.member != self) {
    return Refused(RefusalCode::kWrongSession, "the shares are of another session or member");
  }
  const std::size_t row = view.terms().num_rounds * kSealedSharesBytes;
  if (delivered.shares.sealed.size() != delivered.shares.members.size() * row) {
    return Refused(RefusalCode::kMalformed, "sealed must have " + std::to_string(row) +
                                                " bytes for each dealer, got " +
                                                std::to_string(delivered.shares.sealed.size()));
  }
  OpenedShares opened;
  AcknowledgedShares ack{.session = view.id(), .member = self, .dealers = {}};
  for (const MemberIndex dealer : view.DealersOf(self)) {
    const ByteSpan sealed = delivered.shares.Of(dealer);
    if (sealed.empty()) continue;
    const StatusOr<crypto::AeadKey> channel = ChannelKey(
        view.id(), *secrets_.channel_key(), self, view.channel_key(dealer), dealer, dealer, self);
    if (!channel.ok()) continue;  // Not acknowledged: the coordinator draws the conclusion.
    auto shares = OpenAll(*channel, view, dealer, self, sealed);
    if (!shares.ok()) continue;
    opened.emplace(dealer, *std::move(shares));
    ack.dealers.push_back(dealer);
  }
  const auto message =
      Keep(SignMessage(MessageKind::kShareKeysAck, Encode(ack), options_->signing_key));
  return Transition{.next = InSession{.membership = std::move(state.membership),
                                      .view = std::move(state.view),
                                      .delivery = crypto::Sha256(event.message),
                                      .shares_ack = message},
                    .actions = OneAction(Send{MessageKind::kShareKeysAck, *message}),
                    .opened = std::move(opened)};
}

StatusOr<ClientSession::Transition> ClientSession::On(InSession state, const SharesReceived& event,
                                                      Time) const {
  if (crypto::Sha256(event.message) != state.delivery) {
    return Refused(RefusalCode::kConflictingSets, "the session has other shares already");
  }
  Send again{MessageKind::kShareKeysAck, *state.shares_ack};
  return Transition{.next = std::move(state), .actions = OneAction(std::move(again))};
}

}  // namespace chorale::secagg
