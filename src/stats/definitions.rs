//! What each figure means, in English and Chinese. Stored with the figures and shown beside them.
//!
//! The words are those of the product: refused, test and inbound calls are no attempts; the hour is the one local to
//! the person called, stored with the attempt.

/// A figure's meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Definition {
    /// Name in reports and JSON.
    pub name: &'static str,
    /// Raised when the meaning changes; the old one stays stored.
    pub version: u32,
    /// `count`, `ratio`, `ms`, `amount` or `word`.
    pub unit: &'static str,
    /// In the columns of the roll-ups.
    pub formula: &'static str,
    /// In English.
    pub en: &'static str,
    /// In Chinese.
    pub zh: &'static str,
}

macro_rules! definitions {
    ($($name:literal $version:literal $unit:literal $formula:literal $en:literal $zh:literal;)*) => {
        /// Every figure, in the order in which reports show them.
        pub const DEFINITIONS: &[Definition] = &[$(
            Definition { name: $name, version: $version, unit: $unit, formula: $formula, en: $en, zh: $zh }
        ),*];
    };
}

definitions! {
    "attempts" 1 "count" "attempts"
        "Attempts: allowed requests to reach a contact point, stored before the first INVITE. Refused, test and inbound calls are no attempts."
        "拨打：经规则允许、在发出第一个 INVITE 之前已登记的外呼请求。被拒绝的、测试的和呼入的通话不计。";
    "seizures" 1 "count" "seizures"
        "Seizures: attempts whose INVITE to the person called was handed to a trunk."
        "占用：已向线路发出被叫 INVITE 的拨打。";
    "connected" 1 "count" "connected"
        "Connected: seizures that the person called answered (200 OK)."
        "接通：被叫应答（200 OK）的占用。";
    "lost_ours" 1 "count" "lost_ours"
        "Lost by our own fault: attempts never answered whose cause lies with this installation."
        "自身原因损失：因本系统故障而未接通的拨打。";
    "connect_rate" 1 "ratio" "connected / (attempts - lost_ours)"
        "Connect rate: connected / (attempts - attempts lost by our own faults). By the hour local to the person called at dial time."
        "接通率：接通数 ÷（拨打数 − 自身原因损失数）。小时为拨打时被叫当地的小时。";
    "raw_rate" 1 "ratio" "connected / attempts"
        "Raw rate: connected / attempts, our own faults included."
        "原始接通率：接通数 ÷ 拨打数，含自身原因损失。";
    "asr" 1 "ratio" "connected / seizures"
        "ASR, answer-seizure ratio: answered / seizures."
        "应答率（ASR）：应答数 ÷ 占用数。";
    "ner" 1 "ratio" "effective / seizures"
        "NER, network effectiveness ratio: (answered + busy + no answer + rejected by the called party) / seizures."
        "网络有效率（NER）：（应答 + 忙 + 无人接听 + 被叫拒接）÷ 占用数。";
    "talk_ms" 1 "ms" "talk_ms"
        "Talk time: the person called answers until hang-up, summed."
        "通话时长：被叫应答至挂机，合计。";
    "mean_talk_ms" 1 "ms" "talk_ms / connected"
        "Mean talk time: talk time / connected."
        "平均通话时长：通话时长 ÷ 接通数。";
    "mean_pdd_ms" 1 "ms" "pdd_ms / rung"
        "PDD, post-dial delay: INVITE to first ringing, mean over the seizures that rang."
        "拨号后延迟（PDD）：INVITE 至首次振铃，对有振铃的占用取平均。";
    "mean_ring_ms" 1 "ms" "ring_ms / rung"
        "Ring time: first ringing to answer, or to the end where nobody answered, mean over the seizures that rang."
        "振铃时长：首次振铃至应答（无应答则至结束），对有振铃的占用取平均。";
    "right_party" 1 "count" "right_party"
        "Right-party contacts: connected calls in which, by the agent's disposition, the right person was spoken to."
        "本人接通：按催收结果，接通且为应联系的本人。";
    "rpc_rate" 1 "ratio" "right_party / connected"
        "RPC rate: right-party contacts / connected. Calls without a disposition count as not yet the right person."
        "本人接通率：本人接通数 ÷ 接通数。尚无催收结果的通话暂不计为本人。";
    "first_calls" 1 "count" "attempts of rollup_first_calls"
        "First calls: the first attempt at each case, by batch and disposition."
        "首次电催：每个案件的第一次拨打，按批次和催收结果统计。";
    "refusals" 1 "count" "receipts with allowed = 0"
        "Refusals: requests that the rules did not allow, by reason. They are no attempts and in no other figure."
        "拒绝：规则不允许的外呼请求，按原因统计；不计入拨打及其他任何指标。";
    "promise_kept_rate" 1 "ratio" "kept promises / promises due"
        "Promise kept rate: promises of which at least the promised amount came in from the day of the note to the promised day / promises that came due."
        "承诺兑现率：自催记之日至承诺日回款不少于承诺金额的承诺数 ÷ 到期承诺数。";
    "recovery_rate" 1 "ratio" "repaid_e4 / placed_e4 of the cases placed"
        "Recovery rate: repaid / notified at placement, of the cases placed in the cycle, by overdue bucket."
        "回收率：该周期委托案件的回款额 ÷ 委托金额，按逾期账龄。";
    "aht_ms" 1 "ms" "(talk + wrap_up) / connected"
        "AHT, average handling time: talk, hold and wrap-up of an agent or team / connected. Holding is part of talking."
        "平均处理时长（AHT）：（通话 + 保持 + 话后处理）÷ 接通数；保持计入通话。";
    "occupancy" 1 "ratio" "(reserved + talk + wrap_up) / (reserved + talk + wrap_up + ready)"
        "Occupancy: time reserved for a call, talking and in wrap-up / the time logged in without breaks."
        "工时利用率：（占用 + 通话 + 话后处理）÷（登录时长 − 小休）。";
    "logged_in_ms" 1 "ms" "ready + reserved + talk + wrap_up + break"
        "Logged in: time ready, reserved for a call, talking, in wrap-up and on break, by day in the zone shown to operators. What still lasts is not in it."
        "登录时长：就绪、占用、通话、话后处理与小休之和，按显示时区的日期统计；尚未结束的状态不计。";
    "share" 1 "ratio" "attempts / all attempts"
        "Share: attempts that ended for this cause / all attempts."
        "占比：因该原因结束的拨打数 ÷ 全部拨打数。";
    "caller_id_health" 1 "word" "interval of the recent days against that of the days before"
        "Caller-ID health: falling (an alarm) if the 95 % interval of the connect rate of the recent days lies wholly below that of the days before, rising if above, steady if they overlap, too few if either has fewer attempts than the report says."
        "主叫号码健康度：近期接通率的 95% 置信区间整体低于此前为下降（告警），整体高于为上升，重叠为平稳；任一时段样本不足为样本过少。";
    "standing" 1 "word" "recovery_rate against base and minimum rate of the contract"
        "Standing: full (at least the base rate), reduced (at least the minimum rate), running (below it while the three months of a cycle run), none (below it when they are over)."
        "档位：full 达到基准回收率；reduced 达到最低回收率；running 低于最低回收率但三个月周期未满；none 周期已满仍低于最低回收率。";
    "fee" 1 "amount" "repaid * the contract's fee of the standing"
        "Fee: what came back within the cycle times the contract's fee, the reduced one below the base rate, nothing below the minimum rate once the cycle is over; rounded to a ten-thousandth. Empty where the contract does not say."
        "佣金：周期内回款额 × 合同佣金率（低于基准回收率按减收佣金率，周期满仍低于最低回收率为零），四舍五入至万分之一；合同未约定时留空。";
}
