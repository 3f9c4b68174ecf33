// SPDX-License-Identifier: BSD-3-Clause
#include "pmd/rss.h"

#include "pmd/log.h"
#include "pmd/shared.h"

#include <algorithm>

namespace tapflow::pmd {
namespace {

static_assert(rss::kIpv4 == RTE_ETH_RSS_IPV4 && rss::kFragmentIpv4 == RTE_ETH_RSS_FRAG_IPV4 &&
              rss::kIpv4Tcp == RTE_ETH_RSS_NONFRAG_IPV4_TCP && rss::kIpv4Udp == RTE_ETH_RSS_NONFRAG_IPV4_UDP &&
              rss::kIpv4Sctp == RTE_ETH_RSS_NONFRAG_IPV4_SCTP && rss::kIpv4Other == RTE_ETH_RSS_NONFRAG_IPV4_OTHER &&
              rss::kIpv6 == RTE_ETH_RSS_IPV6 && rss::kFragmentIpv6 == RTE_ETH_RSS_FRAG_IPV6 &&
              rss::kIpv6Tcp == RTE_ETH_RSS_NONFRAG_IPV6_TCP && rss::kIpv6Udp == RTE_ETH_RSS_NONFRAG_IPV6_UDP &&
              rss::kIpv6Sctp == RTE_ETH_RSS_NONFRAG_IPV6_SCTP && rss::kIpv6Other == RTE_ETH_RSS_NONFRAG_IPV6_OTHER);
static_assert(rss::kL2Payload == RTE_ETH_RSS_L2_PAYLOAD && rss::kIpv6Ex == RTE_ETH_RSS_IPV6_EX &&
              rss::kIpv6TcpEx == RTE_ETH_RSS_IPV6_TCP_EX && rss::kIpv6UdpEx == RTE_ETH_RSS_IPV6_UDP_EX &&
              rss::kEsp == RTE_ETH_RSS_ESP && rss::kAh == RTE_ETH_RSS_AH);
static_assert(rss::kL2SourceOnly == RTE_ETH_RSS_L2_SRC_ONLY && rss::kL2DestinationOnly == RTE_ETH_RSS_L2_DST_ONLY &&
              rss::kL3SourceOnly == RTE_ETH_RSS_L3_SRC_ONLY && rss::kL3DestinationOnly == RTE_ETH_RSS_L3_DST_ONLY &&
              rss::kL4SourceOnly == RTE_ETH_RSS_L4_SRC_ONLY && rss::kL4DestinationOnly == RTE_ETH_RSS_L4_DST_ONLY &&
              rss::kOutermost == RTE_ETH_RSS_LEVEL_OUTERMOST && rss::kInnermost == RTE_ETH_RSS_LEVEL_INNERMOST);

/// Publishes a changed configuration if the port runs, and keeps it if that went well.
int apply(rte_eth_dev *dev, const Shared::Rss &changed) {
    Shared &state = shared(dev);
    const Shared::Rss former = state.rss;
    state.rss = changed;
    if (!dev->data->dev_started)
        return 0;
    if (auto set = port(dev).set_rss(rss_config(state)); !set) {
        state.rss = former;
        return log_error(name(dev), set.error());
    }
    publish_rss(dev);
    return 0;
}

/// Sets key, types and function as given; a null key keeps the present one.
int merge(const rte_eth_dev *dev, const rte_eth_rss_conf &conf, Shared::Rss &rss) {
    if (conf.rss_hf & ~kRssTypes) {
        TAPFLOW_LOG(ERR, "%s: RSS types 0x%" PRIx64 " are not supported, supported are 0x%" PRIx64, name(dev),
                    conf.rss_hf & ~kRssTypes, kRssTypes);
        return -EINVAL;
    }
    if (conf.rss_key) {
        if (conf.rss_key_len != rss::kKeySize && conf.rss_key_len != rss::kLongKeySize) {
            TAPFLOW_LOG(ERR, "%s: the RSS key has %u bytes, needed are %zu or %zu", name(dev), conf.rss_key_len,
                        rss::kKeySize, rss::kLongKeySize);
            return -EINVAL;
        }
        rss.key.fill(0);
        std::copy_n(conf.rss_key, conf.rss_key_len, rss.key.begin());
        rss.key_size = conf.rss_key_len;
    }
    const auto function = asked_hash_function(conf, shared(dev).default_function);
    if (!function) {
        TAPFLOW_LOG(ERR, "%s: the RSS hash function is not supported", name(dev));
        return -EINVAL;
    }
    rss.function = *function;
    rss.types = conf.rss_hf;
    return 0;
}

/// The default key in the size that the port offers: Microsoft's, and from its beginning again.
void set_default_key(const rte_eth_dev *dev, Shared::Rss &rss) {
    const auto key = rss::default_key();
    rss.key_size = shared(dev).offered_key_size;
    for (size_t i = 0; i < rss.key_size; i++)
        rss.key[i] = key[i % key.size()];
}

int check_reta_size(const rte_eth_dev *dev, uint16_t size) {
    if (size == shared(dev).reta_size)
        return 0;
    TAPFLOW_LOG(ERR, "%s: the RETA has %u slots, not %u", name(dev), shared(dev).reta_size, size);
    return -EINVAL;
}

bool selected(const rte_eth_rss_reta_entry64 *entries, size_t slot) {
    return entries[slot / RTE_ETH_RETA_GROUP_SIZE].mask & (uint64_t{1} << slot % RTE_ETH_RETA_GROUP_SIZE);
}

} // namespace

void publish_rss(rte_eth_dev *dev) {
    if (shared(dev).tables)
        shared(dev).tables->publish(rss_config(shared(dev)));
}

int configure_rss(rte_eth_dev *dev) {
    const rte_eth_conf &conf = dev->data->dev_conf;
    Shared::Rss &rss = shared(dev).rss;
    Shared::Rss changed = rss;
    changed.types = 0;
    changed.function = shared(dev).default_function;
    if (changed.key_size == 0)
        set_default_key(dev, changed);
    if (conf.rxmode.mq_mode & RTE_ETH_MQ_RX_RSS_FLAG) {
        const auto &asked = conf.rx_adv_conf.rss_conf;
        if (!asked.rss_key)
            set_default_key(dev, changed);
        if (int error = merge(dev, asked, changed))
            return error;
    }
    if (changed.queues != dev->data->nb_rx_queues) {
        changed.queues = dev->data->nb_rx_queues;
        const auto reta = rss::round_robin_reta(changed.queues, shared(dev).reta_size);
        std::copy(reta.begin(), reta.end(), changed.reta.begin());
    }
    rss = changed;
    return 0;
}

int rss_hash_update(rte_eth_dev *dev, rte_eth_rss_conf *conf) {
    Shared::Rss changed = shared(dev).rss;
    if (int error = merge(dev, *conf, changed))
        return error;
    return apply(dev, changed);
}

int rss_hash_conf_get(rte_eth_dev *dev, rte_eth_rss_conf *conf) {
    const Shared::Rss &rss = shared(dev).rss;
    if (conf->rss_key) {
        if (conf->rss_key_len < rss.key_size)
            return -EINVAL;
        std::copy_n(rss.key.begin(), rss.key_size, conf->rss_key);
    }
    conf->rss_key_len = rss.key_size;
    conf->rss_hf = rss.types;
    report_hash_function(*conf, rss.function);
    return 0;
}

int reta_update(rte_eth_dev *dev, rte_eth_rss_reta_entry64 *entries, uint16_t size) {
    if (int error = check_reta_size(dev, size))
        return error;
    Shared::Rss changed = shared(dev).rss;
    for (size_t slot = 0; slot < size; slot++) {
        if (!selected(entries, slot))
            continue;
        const uint16_t queue = entries[slot / RTE_ETH_RETA_GROUP_SIZE].reta[slot % RTE_ETH_RETA_GROUP_SIZE];
        if (queue >= dev->data->nb_rx_queues) {
            TAPFLOW_LOG(ERR, "%s: RETA slot %zu names queue %u, there are %u", name(dev), slot, queue,
                        dev->data->nb_rx_queues);
            return -EINVAL;
        }
        changed.reta[slot] = queue;
    }
    return apply(dev, changed);
}

int reta_query(rte_eth_dev *dev, rte_eth_rss_reta_entry64 *entries, uint16_t size) {
    if (int error = check_reta_size(dev, size))
        return error;
    const Shared::Rss &rss = shared(dev).rss;
    for (size_t slot = 0; slot < size; slot++)
        if (selected(entries, slot))
            entries[slot / RTE_ETH_RETA_GROUP_SIZE].reta[slot % RTE_ETH_RETA_GROUP_SIZE] = rss.reta[slot];
    return 0;
}

} // namespace tapflow::pmd
